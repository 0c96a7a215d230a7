// Package scalebench measures the constants of docs/scale.md on real servers of NATS: what a message, a name and a node that was away cost. It is benchmarks
// alone; each server is a process of its own on the loopback address, so that its time and memory can be told from those of its clients.
//
//	go -C cluster test ./internal/scalebench -run '^$' -bench . -benchtime 1x -timeout 30m
//
// Shapes of messages are those of package cluster, with values of a usual length.
package scalebench
