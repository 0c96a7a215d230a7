package cache

import (
	"io/fs"
	"syscall"
	"time"
)

// read is an open, an fstat, a read and a close. Package os would add a few allocations and an attempt to poll
// the file, which cost as much as the system calls themselves.
func (osFiles) read(path string, idle time.Duration) ([]byte, error) {
	fd, err := uninterrupted(func() (int, error) { return syscall.Open(path, syscall.O_RDONLY|syscall.O_CLOEXEC, 0) })
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	defer syscall.Close(fd)
	var st syscall.Stat_t
	if _, err := uninterrupted(func() (int, error) { return 0, syscall.Fstat(fd, &st) }); err != nil {
		return nil, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	if st.Size > maxFileSize {
		return nil, nil
	}
	data := make([]byte, st.Size)
	n := 0
	for n < len(data) {
		m, err := uninterrupted(func() (int, error) { return syscall.Read(fd, data[n:]) })
		if err != nil {
			return nil, &fs.PathError{Op: "read", Path: path, Err: err}
		}
		if m == 0 {
			break
		}
		n += m
	}
	if idle > 0 && time.Since(time.Unix(st.Mtim.Unix())) > idle {
		// No path and no times: the file itself, now.
		_, _, _ = syscall.Syscall6(syscall.SYS_UTIMENSAT, uintptr(fd), 0, 0, 0, 0, 0)
	}
	return data[:n], nil
}

// uninterrupted calls f until no signal has come between.
func uninterrupted(f func() (int, error)) (int, error) {
	for {
		if n, err := f(); err != syscall.EINTR {
			return n, err
		}
	}
}
