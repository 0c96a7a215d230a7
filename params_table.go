package imagecdn

import "github.com/imagecdn/imagecdn/resize"

// A param is one parameter of image URLs. The names are imgix's.
type param struct {
	name    string   // in canonical queries
	aliases []string // other names
	takes   string   // the values that it has, for errors
	refused []string // imgix's values that are refused rather than taken for something else

	repeats bool // may be given several times, which adds up, and has no form in base64
	empty   bool // may be empty

	// read takes a value, which is not empty unless empty says so. It returns what is wrong with it: nothing, if it is empty.
	read func(r *reader, value string) (problem string)

	// write adds the parameter to a canonical query, where p has it. Nil means that another one does.
	write func(q *query, p *Params)
}

// params are all parameters, in the order of canonical queries, which is that in which they are read.
var params = concat(
	paramsOfSize, paramsOfTurning, paramsOfFaces, paramsOfColour, paramsOfEffects, paramsOfFrame, paramsOfBlend, paramsOfMark,
	paramsOfText, paramsOfAnimation, paramsOfEncoding, paramsOfData, paramsOfRequest, paramsRefused,
)

func concat(groups ...[]param) (all []param) {
	for _, g := range groups {
		all = append(all, g...)
	}
	return all
}

// paramIndex finds a parameter by any of its names, which are case-sensitive.
var paramIndex = indexParams(params)

func indexParams(params []param) map[string]int {
	index := make(map[string]int, 2*len(params))
	for i, p := range params {
		index[p.name] = i
		for _, alias := range p.aliases {
			index[alias] = i
		}
	}
	return index
}

// Constructors of rows whose values are of one kind. The field of the plan is found by at.

// number is a number from lo to hi. Zero is the default.
func number(name string, aliases []string, lo, hi float64, unit string, at func(p *resize.Plan) *float64) param {
	return param{
		name: name, aliases: aliases, takes: span(lo, hi) + unit,
		read: func(r *reader, v string) (problem string) {
			*at(&r.params.Plan), problem = parseBetween(v, lo, hi)
			return problem
		},
		write: func(q *query, p *Params) { q.number(name, *at(&p.Plan)) },
	}
}

// integer is number of whole numbers: what has decimals is rounded.
func integer(name string, aliases []string, lo, hi int, unit string, at func(p *resize.Plan) *int) param {
	return param{
		name: name, aliases: aliases, takes: span(float64(lo), float64(hi)) + unit,
		read: func(r *reader, v string) (problem string) {
			*at(&r.params.Plan), problem = parseWhole(v, lo, hi)
			return problem
		},
		write: func(q *query, p *Params) { q.number(name, float64(*at(&p.Plan))) },
	}
}

// boolean is true or false, which is the default.
func boolean(name string, aliases []string, at func(p *resize.Plan) *bool) param {
	return param{
		name: name, aliases: aliases, takes: "true or false",
		read: func(r *reader, v string) (problem string) {
			*at(&r.params.Plan), problem = parseBool(v)
			return problem
		},
		write: func(q *query, p *Params) { q.flag(name, *at(&p.Plan)) },
	}
}

// part is a row of a group of parameters that have no effect without another one, which is why they are written by that one.
func part(name string, aliases []string, takes string, read func(r *reader, v string) string) param {
	return param{name: name, aliases: aliases, takes: takes, read: read}
}
