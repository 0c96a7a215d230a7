package cache

import "testing"

// OpenCrashDisk opens a Disk on the file system in memory that the fault loops use.
func OpenCrashDisk(t *testing.T) *Disk {
	t.Helper()
	d, err := openDiskOn(newCrashFS(), diskDir, nil)
	if err != nil {
		t.Fatal(err)
	}
	return d
}
