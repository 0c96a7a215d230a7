package command

import (
	"errors"
	"flag"
	"strconv"
	"strings"
	"time"

	"github.com/imagecdn/imagecdn"
)

// limitFlags bound originals, and what is made and kept of them. As in Options, 0 means the default, and less than 0 no limit.
type limitFlags struct {
	renderMemory       sizeFlag
	bytes              sizeFlag
	pixels             int64
	variants, versions int
	enlarge            float64
	renderTimeout      time.Duration
	widths, qualities  rungFlag
}

func (l *limitFlags) define(f *flag.FlagSet) {
	f.Var(&l.renderMemory, "max-render-memory", "most `bytes` of memory that one picture may take by its estimate, or unlimited; more is answered 413 (default 4 times -render-memory)")
	f.Var(&l.bytes, "max-bytes", "most `bytes` of an original, or unlimited; more is answered 413 (default 64 MiB)")
	f.Int64Var(&l.pixels, "max-pixels", 0, "most `pixels` of an original, frames counted; more is answered 413; 0 means 50,000,000, less than 0 no limit")
	f.IntVar(&l.variants, "max-variants", 0, "how many `pictures` of one image are kept, about; 0 means 1,000, less than 0 no limit")
	f.IntVar(&l.versions, "max-versions", 0, "how many `versions` of one image, by vh, are known at a time; more are answered 403; 0 means 1,000, less than 0 no limit")
	f.Float64Var(&l.enlarge, "max-enlarge", 0, "how many `times` wider or higher than its original a picture may be; more is answered 400; 0 means that 8192 pixels of a side are the limit")
	f.DurationVar(&l.renderTimeout, "render-timeout", 0, "most `time` to make a picture in, such as 20s; more is answered 422; 0 means a minute, less than 0 no limit")
	f.Var(&l.widths, "ladder", "move widths up to the next of these `pixels`, dpr included: 320,640,1280")
	f.Var(&l.qualities, "ladder-qualities", "move qualities up to the next of these `numbers`: 40,60,80")
}

// set sets what the flags are about.
func (l *limitFlags) set(o *imagecdn.Options) error {
	if !(l.enlarge >= 0) { // nor is it no number
		return usageError("-max-enlarge takes a number of at least 0")
	}
	o.MaxRenderMemory, o.MaxBytes, o.MaxPixels = int64(l.renderMemory), int64(l.bytes), l.pixels
	o.MaxVariants, o.MaxVersions, o.MaxEnlarge, o.RenderTimeout = l.variants, l.versions, l.enlarge, l.renderTimeout
	if l.widths != nil || l.qualities != nil {
		o.Ladder = &imagecdn.Ladder{Widths: l.widths, Qualities: l.qualities}
	}
	return nil
}

// rungFlag is a list of numbers that rise.
type rungFlag []int

func (r *rungFlag) String() string { return "" }

func (r *rungFlag) Set(v string) error {
	*r = nil
	for item := range strings.SplitSeq(v, ",") {
		n, err := strconv.Atoi(item)
		if err != nil || n < 1 || len(*r) > 0 && n <= (*r)[len(*r)-1] {
			return errors.New("give whole numbers, each above the one before, such as 320,640,1280")
		}
		*r = append(*r, n)
	}
	return nil
}
