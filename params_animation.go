package imagecdn

import (
	"strconv"
	"strings"

	"github.com/imagecdn/imagecdn/resize"
)

// paramsOfAnimation pick frames of an animation, and say how fast they go.
var paramsOfAnimation = []param{
	{
		name: "frame", takes: "the number of a frame from 1, or two: FIRST-LAST, either of which may be left out",
		read: func(r *reader, v string) string { return readFrames(v, &r.params.Plan.Animation) },
		write: func(q *query, p *Params) {
			a := p.Plan.Animation
			switch {
			case a.First == 0 && a.Last == 0:
			case a.First == a.Last:
				q.text("frame", strconv.Itoa(a.First))
			default:
				q.text("frame", "")
				if a.First > 0 {
					q.digits(float64(a.First))
				}
				q.b = append(q.b, '-')
				if a.Last > 0 {
					q.digits(float64(a.Last))
				}
			}
		},
	},
	integer("skip", nil, 2, maxFrame, " frames, counted from the first", func(p *resize.Plan) *int { return &p.Animation.Skip }),
	integer("interval", nil, 1, maxFrame, " frames, counted from the first", func(p *resize.Plan) *int { return &p.Animation.Interval }),
	boolean("reverse", nil, func(p *resize.Plan) *bool { return &p.Animation.Reverse }),
	integer("fps", nil, 1, 60, " frames in a second", func(p *resize.Plan) *int { return &p.Animation.FPS }),
	{
		name: "loop", takes: "0 to 65535 times, 0 being for ever",
		read: func(r *reader, v string) (problem string) {
			r.params.Plan.Animation.Loop, problem = pointerTo(parseWhole(v, 0, 65535))
			return problem
		},
		write: func(q *query, p *Params) { q.whole("loop", p.Plan.Animation.Loop) },
	},
}

// maxFrame bounds the numbers of frames.
const maxFrame = 1_000_000

// readFrames reads N, N-, -N or N-M.
func readFrames(s string, a *resize.Animation) (problem string) {
	from, to, both := strings.Cut(s, "-")
	if !both {
		a.First, problem = parseWhole(s, 1, maxFrame)
		a.Last = a.First
		return problem
	}
	if from == "" && to == "" {
		return "no number"
	}
	if from != "" {
		if a.First, problem = parseWhole(from, 1, maxFrame); problem != "" {
			return problem
		}
	}
	if to != "" {
		if a.Last, problem = parseWhole(to, 1, maxFrame); problem != "" {
			return problem
		}
	}
	if a.Last > 0 && a.Last < a.First {
		return "the last before the first"
	}
	return ""
}

// canonicalAnimation leaves out what picks all frames.
func canonicalAnimation(a *resize.Animation) {
	if a.First == 1 && a.Last != 1 {
		a.First = 0
	}
	if a.First == 0 && a.Last == 1 {
		a.First = 1
	}
	if a.Interval == 1 {
		a.Interval = 0
	}
}
