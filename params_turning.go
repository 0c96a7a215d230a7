package imagecdn

import (
	"slices"

	"github.com/imagecdn/imagecdn/resize"
)

// paramsOfTurning turn and mirror.
var paramsOfTurning = []param{
	{
		name: "orient", aliases: []string{"or"}, takes: "0 to 8 as EXIF has them, or 90, 180 or 270 degrees clockwise",
		read:  func(r *reader, v string) string { return readWord(orientWords, v, &r.params.Plan.Orient) },
		write: func(q *query, p *Params) { q.number("orient", float64(p.Plan.Orient)) },
	},
	{
		name: "flip", takes: "h, v or hv",
		read: func(r *reader, v string) string { return readWord(flipWords, v, &r.params.Plan.Flip) },
		write: func(q *query, p *Params) {
			if p.Plan.Flip != resize.NoFlip {
				q.text("flip", wordOf(flipWords, p.Plan.Flip))
			}
		},
	},
	{
		name: "rot", takes: "degrees counter-clockwise, 0 to 359",
		read: func(r *reader, v string) (problem string) {
			r.params.Plan.Rotate, problem = parseAngle(v)
			return problem
		},
		write: func(q *query, p *Params) { q.number("rot", p.Plan.Rotate) },
	},
	{
		name: "rot-type", aliases: []string{"rottype", "rott"}, takes: "straighten or pivot",
		read: func(r *reader, v string) string { return readWord(rotWords, v, &r.params.Plan.Pivot) },
		write: func(q *query, p *Params) {
			if p.Plan.Pivot {
				q.text("rot-type", wordOf(rotWords, true))
			}
		},
	},
}

var rotWords = []word[bool]{{"straighten", false}, {"pivot", true}}

// paramsOfFaces look for faces.
var paramsOfFaces = []param{
	integer("faceindex", nil, 1, 1000, ", counted by size", func(p *resize.Plan) *int { return &p.Face }),
	number("facepad", nil, 1, 10, " times the faces", func(p *resize.Plan) *float64 { return &p.FacePad }),
	number("face-blur", nil, 0, 100, "", func(p *resize.Plan) *float64 { return &p.FaceBlur }),
	integer("face-pixel", []string{"face-pixelate"}, 0, 100, " pixels", func(p *resize.Plan) *int { return &p.FacePixelate }),
}

// canonicalFaces leaves out what fit=facearea and crop=faces are not there to look at.
func canonicalFaces(plan *resize.Plan) {
	if plan.Fit != resize.FaceArea {
		plan.FacePad = 0
		if !slices.Contains(plan.Crop, resize.Faces) {
			plan.Face = 0
		}
	}
	if plan.FacePad == 1 {
		plan.FacePad = 0
	}
}
