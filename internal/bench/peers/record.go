package main

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// A record is one measurement, a line of the file of raw figures. What a part does not measure is zero, and empty in the
// file.
type record struct {
	part    string // one, set, quality or memory
	input   string
	widths  string
	format  string // of the output
	quality int
	side    string
	round   int // from 1

	pictures int
	busy     time.Duration // summed over the workers
	cpu      time.Duration
	bytes    int     // of one picture
	ssim     float64 // of its luma with a resize in floating point
	peak     int64   // bytes, of the whole process
	failed   int     // requests
}

const header = "part\tinput\twidths\tformat\tquality\tside\tround\tpictures\tbusy_us\tcpu_us\tbytes\tssim\tpeak_bytes\tfailed"

func (r record) String() string {
	n := func(v int64) string {
		if v == 0 {
			return ""
		}
		return strconv.FormatInt(v, 10)
	}
	similarity := ""
	if r.ssim != 0 {
		similarity = strconv.FormatFloat(r.ssim, 'f', 6, 64)
	}
	return strings.Join([]string{
		r.part, r.input, r.widths, r.format, n(int64(r.quality)), r.side, n(int64(r.round)), n(int64(r.pictures)),
		n(r.busy.Microseconds()), n(r.cpu.Microseconds()), n(int64(r.bytes)), similarity, n(r.peak), n(int64(r.failed)),
	}, "\t")
}

// throughput is pictures a second of all workers.
func (r record) throughput() float64 { return float64(r.pictures) * workers / r.busy.Seconds() }

// cpuEach is the processor time of one picture, in milliseconds.
func (r record) cpuEach() float64 { return r.cpu.Seconds() * 1000 / float64(r.pictures) }

func (r record) size() float64 { return float64(r.bytes) }

// figures are the records of a run and what it ran on.
type figures struct {
	facts   [][2]string // a name and what it is: the date, the machine, the versions
	records []record
}

func (f *figures) fact(name, value string) { f.facts = append(f.facts, [2]string{name, value}) }

func (f *figures) writeTo(w io.Writer) error {
	b := bufio.NewWriter(w)
	for _, fact := range f.facts {
		fmt.Fprintf(b, "# %s: %s\n", fact[0], fact[1])
	}
	fmt.Fprintln(b, header)
	for _, r := range f.records {
		fmt.Fprintln(b, r)
	}
	return b.Flush()
}

func readFigures(r io.Reader) (*figures, error) {
	f := new(figures)
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		line := lines.Text()
		if fact, ok := strings.CutPrefix(line, "# "); ok {
			name, value, _ := strings.Cut(fact, ": ")
			f.fact(name, value)
			continue
		}
		if line == header || line == "" {
			continue
		}
		rec, err := parseRecord(line)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		f.records = append(f.records, rec)
	}
	return f, lines.Err()
}

func parseRecord(line string) (record, error) {
	c := strings.Split(line, "\t")
	if want := strings.Count(header, "\t") + 1; len(c) != want {
		return record{}, fmt.Errorf("%d columns, not %d", len(c), want)
	}
	var firstErr error
	number := func(i int) float64 {
		if c[i] == "" {
			return 0
		}
		v, err := strconv.ParseFloat(c[i], 64)
		if err != nil && firstErr == nil {
			firstErr = err
		}
		return v
	}
	r := record{
		part: c[0], input: c[1], widths: c[2], format: c[3], quality: int(number(4)), side: c[5], round: int(number(6)),
		pictures: int(number(7)), busy: time.Duration(number(8)) * time.Microsecond, cpu: time.Duration(number(9)) * time.Microsecond,
		bytes: int(number(10)), ssim: number(11), peak: int64(number(12)), failed: int(number(13)),
	}
	return r, firstErr
}
