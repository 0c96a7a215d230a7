package svgclean

import (
	"cmp"
	"fmt"
	"slices"
)

const (
	// maxDrawn is how many elements a document may come to, with those that others refer to counted as often as they are drawn.
	maxDrawn = 1 << 20

	// maxChain is how many references may follow each other.
	maxChain = 64
)

// A reference is one element's to another, which is drawn in its place, or to draw it.
type reference struct {
	from int // in document order
	id   string
	to   int // which element that is
}

// outline is what is known of a document's elements: how many there are in each, and what they refer to.
type outline struct {
	ends []int // of each element in document order, the first that is not in it
	ids  map[string]int
	refs []reference // in document order

	weights []int // of each element; 0: not known, -1: being weighed
}

// check refuses a document that draws itself, or little that comes to very much: a few lines of use elements of use elements, or of patterns of patterns,
// keep a browser busy for ever. References in style elements are not counted.
func (o *outline) check() error {
	o.weights = make([]int, len(o.ends))
	known := o.refs[:0]
	for _, r := range o.refs {
		if to, ok := o.ids[r.id]; ok {
			r.to = to
			known = append(known, r)
		}
	}
	o.refs = known
	_, err := o.weigh(0, 0)
	return err
}

func (o *outline) weigh(i, chain int) (int, error) {
	switch w := o.weights[i]; {
	case w < 0:
		return 0, fmt.Errorf("%w: an element refers to itself", ErrDamaged)
	case w > 0:
		return w, nil
	}
	if chain > maxChain {
		return 0, fmt.Errorf("%w: more than %d references follow each other", ErrTooLarge, maxChain)
	}
	o.weights[i] = -1
	w := o.ends[i] - i
	first, _ := slices.BinarySearchFunc(o.refs, i, func(r reference, i int) int { return cmp.Compare(r.from, i) })
	for _, r := range o.refs[first:] {
		if r.from >= o.ends[i] {
			break
		}
		more, err := o.weigh(r.to, chain+1)
		if err != nil {
			return 0, err
		}
		if w += more; w > maxDrawn {
			return 0, fmt.Errorf("%w: more than %d elements are drawn", ErrTooLarge, maxDrawn)
		}
	}
	o.weights[i] = w
	return w, nil
}
