package purgetest_test

import (
	"testing"

	"github.com/imagecdn/imagecdn/purge"
	"github.com/imagecdn/imagecdn/purge/purgetest"
)

func TestMemoryLog(t *testing.T) {
	purgetest.TestLog(t, func(t *testing.T) purgetest.Reopener {
		l := new(purge.MemoryLog)
		return func() purge.Log { return l }
	})
}

func TestMemorySharedLog(t *testing.T) {
	purgetest.TestSharedLog(t, func(t *testing.T) purgetest.Opener { return purgetest.NewSharedLog().Node })
}
