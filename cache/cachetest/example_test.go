package cachetest_test

import (
	"testing"

	"github.com/imagecdn/imagecdn/cache"
	"github.com/imagecdn/imagecdn/cache/cachetest"
)

// The test of a store of one's own has this body.
func ExampleTestStore() {
	test := func(t *testing.T) {
		cachetest.TestStore(t, func(t *testing.T) cache.Store { return cache.NewMemory(0) })
	}
	_ = test
}
