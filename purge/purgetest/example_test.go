package purgetest_test

import (
	"path/filepath"
	"testing"

	"github.com/imagecdn/imagecdn/purge"
	"github.com/imagecdn/imagecdn/purge/boltlog"
	"github.com/imagecdn/imagecdn/purge/purgetest"
)

// The test of a log of one's own has this body.
func ExampleTestLog() {
	test := func(t *testing.T) {
		purgetest.TestLog(t, func(t *testing.T) purgetest.Reopener {
			path := filepath.Join(t.TempDir(), "purges.db")
			var l *boltlog.Log
			t.Cleanup(func() { l.Close() })
			return func() purge.Log {
				var err error
				if l != nil {
					err = l.Close()
				}
				if err == nil {
					l, err = boltlog.Open(path)
				}
				if err != nil {
					t.Fatal(err)
				}
				return l
			}
		})
	}
	_ = test
}
