// Package fault plants mistakes in this module, each a line or two where somebody could have made it, so that tests can
// show that they find it. Only with the build tag plantedfaults can any be chosen: without it [Planted] is the constant
// None, and the compiler leaves out all that asks for another.
package fault

// A Fault is one mistake.
type Fault int

const (
	None                    Fault = iota
	DeadLeaseCommits              // what a fetch of before a purge brings becomes the name's value
	FlightOutlivesPurge           // a request joins a fetch that began before the purge that it came after
	PurgeForgetsVersions          // a purge of an image leaves its vh versions
	PurgeForgetsFailures          // a purge of an image leaves that it is missing, or that its origin fails
	MarkIsNoInput                 // a composite's key leaves out the watermark
	RestartForgetsPurgeAll        // a purge of everything, or of a source, is never written down
	RestartForgetsPurge           // a purge of an image is never written down
	FirstFetchMayBeCopied         // the first fetch after a purge does not say no-cache
	FirstFetchIsConditional       // the first fetch after a purge has the old validator
	DeadBytesMayBeKept            // what was purged while it was fetched does not say no-store
)
