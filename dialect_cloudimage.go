package imagecdn

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// Cloudimage is the dialect of a whole host that was at Cloudimage:
//
//	/v7/https://img.example.com/boat.jpg?w=400&h=300&func=crop
//
// "/v7" may be left out, and so may the scheme, of whose slashes one may be missing; the URL may be percent-encoded as a whole, with
// ci_url_encoded=1 or without. In place of a host there may be an alias, and with Prefix nothing at all. A second question mark ends the query
// of the original, which the origin is asked with. docs/cloudimage.md has all parameters and what becomes of them.
//
// Signatures and seals are the matter of middleware.CloudimageSignature and middleware.CloudimageSeal: ci_sign, ci_eqs and ci_seal mean
// nothing here.
type Cloudimage struct {
	// Hosts are the sources of the hosts of originals: "img.example.com", with its port where that is not the default one. Each is the name
	// of a source whose URL is the root of the host, or SOURCE/FOLDER. Another host is a 403. Zero means none.
	Hosts map[string]string

	// Aliases are what the first segment of a path may be in place of a host, with its underscores: "_media_". Each is the name of a
	// source, or SOURCE/FOLDER. A segment is an alias or is not: "_media_" has nothing to do with "_media_old_". Zero means none.
	Aliases map[string]string

	// Prefix is the name of a source, or SOURCE/FOLDER, that paths are in which begin with neither a scheme, nor one of Hosts, nor one
	// of Aliases. Zero means that such a path is a 403.
	Prefix string

	// Presets are queries by name: p=NAME in a URL stands for the query, whose values win over those of the URL. Zero means none.
	Presets map[string]string

	// Rules add parameters to paths. The first that has a parameter counts, and the URL wins over all. Zero means none.
	Rules []Rule

	// Watermark is the query of the parameters wat_… that wat=1 has by itself, such as "wat_url=_media_/logo.png&wat_gravity=southeast". Those of
	// the URL win. Zero means that a watermark has to have wat_url or wat_text.
	Watermark string

	// Strict makes an unknown parameter an error. Without it unknown parameters mean nothing.
	Strict bool
}

// A Rule adds parameters to the URLs of some originals.
type Rule struct {
	// Contains is what the path, after "/v7" and as it was sent, has in it. Zero means all paths.
	Contains string

	// Query has the parameters.
	Query string
}

// ParseRequest implements [Dialect].
func (d Cloudimage) ParseRequest(u *url.URL) (Request, error) {
	escaped := u.EscapedPath()
	path := strings.TrimPrefix(escaped, "/")
	if rest, ok := strings.CutPrefix(path, "v7/"); ok {
		path = rest
	}
	own, query := cutOwnQuery(u.RawQuery)
	args, err := d.arguments(query, path)
	if err != nil {
		return Request{}, err
	}
	encoded := false
	if v := args.value("ci_url_encoded"); v != nil {
		if encoded, err = v.flag(); err != nil {
			return Request{}, err
		}
	}
	image, fault := d.original(path, own, encoded)
	if fault != nil {
		return Request{}, pathError(escaped, fault)
	}
	r, err := d.read(args)
	if err != nil {
		return Request{}, err
	}
	image.Version = r.Image.Version
	r.Image = image
	return r, nil
}

// cutOwnQuery takes the query of the original off one that has a second question mark:
//
//	alt=media&token=x?width=400  ▶  "alt=media&token=x", "width=400"
//
// The last one counts where what follows it begins with a parameter of Cloudimage, and it is not in the value of one that is text.
func cutOwnQuery(rawQuery string) (own, query string) {
	i := strings.LastIndexByte(rawQuery, '?')
	if i < 0 {
		return "", rawQuery
	}
	name, _, ok := strings.Cut(rawQuery[i+1:], "=")
	if _, known := cloudimageIndex[unescaped(name)]; !known || !ok {
		return "", rawQuery
	}
	pair := rawQuery[strings.LastIndexByte(rawQuery[:i], '&')+1 : i]
	name, _, ok = strings.Cut(pair, "=")
	if id, known := cloudimageIndex[unescaped(name)]; known && ok && cloudimageParams[id].text {
		return "", rawQuery
	}
	return rawQuery[:i], rawQuery[i+1:]
}

// original reads the path of a URL, without its first slash and "v7/".
func (d Cloudimage) original(path, own string, encoded bool) (Image, *ParamError) {
	if encoded || encodedScheme(path) {
		decoded, err := url.PathUnescape(path)
		if err != nil {
			return Image{}, &ParamError{Reason: "has a percent sign that is not followed by two hexadecimal digits"}
		}
		var within string
		decoded, _, _ = strings.Cut(decoded, "#")
		path, within, _ = strings.Cut(decoded, "?")
		switch {
		case own == "":
			own = within
		case within != "":
			own = within + "&" + own
		}
	}
	o := originURL{d.Hosts}
	if rest, ok := cutScheme(path); ok {
		return o.image(rest, own)
	}
	first, rest, _ := strings.Cut(path, "/")
	if _, ok := d.Hosts[normalHost(first)]; ok {
		return o.image(path, own)
	}
	if folder, ok := d.Aliases[unescapedPath(first)]; ok {
		return imageIn(folder, rest, own)
	}
	if d.Prefix != "" {
		return imageIn(d.Prefix, path, own)
	}
	return Image{}, &ParamError{
		Reason: "begins with " + printable(first) + ", which is neither a host nor an alias that images come from here", Status: http.StatusForbidden,
	}
}

func unescapedPath(s string) string {
	if d, err := url.PathUnescape(s); err == nil {
		return d
	}
	return s
}

// other reads what wat_url names: a URL with a scheme or without, or an alias.
func (d Cloudimage) other(value string) (Image, *ParamError) {
	rest, query, hasScheme := splitURL(value)
	var image Image
	var fault *ParamError
	if hasScheme {
		image, fault = originURL{d.Hosts}.image(rest, query)
	} else {
		image, fault = d.original(strings.TrimPrefix(rest, "/"), query, false)
	}
	if fault == nil && image.Query != "" { // be it in a URL that is percent-encoded once more
		fault = &ParamError{Reason: "a watermark with a query of its own is not supported"}
	}
	return image, fault
}

// A cloudimageArg is a parameter as a query has it.
type cloudimageArg struct {
	id          int // in cloudimageParams
	name, value string
}

func (a *cloudimageArg) fail(problem string) *ParamError {
	p := &cloudimageParams[a.id]
	return &ParamError{Param: a.name, Value: a.value, Reason: problem + ": " + p.name + " takes " + p.takes}
}

func (a *cloudimageArg) flag() (bool, error) {
	v, problem := parseBool(a.value)
	if problem != "" {
		return false, a.fail(problem)
	}
	return v, nil
}

// cloudimageArgs are the parameters of a URL, those of its preset and its rules included.
type cloudimageArgs struct {
	list           []cloudimageArg // in the order of cloudimageParams
	preset, beside string
}

// value finds a parameter by its first name.
func (a *cloudimageArgs) value(name string) *cloudimageArg {
	id := cloudimageIndex[name]
	for i := range a.list {
		if a.list[i].id == id {
			return &a.list[i]
		}
	}
	return nil
}

// arguments reads a query, and puts the preset over it and the rules for path under it.
func (d Cloudimage) arguments(query, path string) (args cloudimageArgs, err error) {
	url, err := splitCloudimage(query, d.Strict)
	if err != nil {
		return args, err
	}
	from := [][]cloudimageArg{nil, url}
	for _, a := range url {
		switch p := &cloudimageParams[a.id]; {
		case p.name == "p":
			preset, ok := d.Presets[a.value]
			if !ok {
				return args, &ParamError{Param: a.name, Value: a.value, Reason: "there is no such preset here"}
			}
			args.preset = a.value
			if from[0], err = splitCloudimage(preset, true); err != nil {
				return args, err
			}
		case !p.request && args.beside == "":
			args.beside = a.name
		}
	}
	if args.preset == "" {
		args.beside = ""
	}
	for _, rule := range d.Rules {
		if strings.Contains("/"+path, rule.Contains) {
			more, err := splitCloudimage(rule.Query, true)
			if err != nil {
				return args, err
			}
			from = append(from, more)
		}
	}
	return d.watermarked(args.merge(from))
}

// watermarked adds what the watermark has by itself, where one is asked for.
func (d Cloudimage) watermarked(args cloudimageArgs) (cloudimageArgs, error) {
	wat := args.value("wat")
	if wat == nil || d.Watermark == "" {
		return args, nil
	}
	if on, err := wat.flag(); err != nil || !on {
		return args, err
	}
	more, err := splitCloudimage(d.Watermark, true)
	if err != nil {
		return args, err
	}
	if args.value("wat_text") != nil { // it is the watermark, then
		more = withoutArg(more, "wat_url")
	}
	return args.merge([][]cloudimageArg{args.list, more}), nil
}

func withoutArg(list []cloudimageArg, name string) (kept []cloudimageArg) {
	for _, a := range list {
		if a.id != cloudimageIndex[name] {
			kept = append(kept, a)
		}
	}
	return kept
}

// merge takes each parameter from the first list that has it.
func (a cloudimageArgs) merge(from [][]cloudimageArg) cloudimageArgs {
	var first [maxParams]*cloudimageArg
	for _, list := range from {
		for i := range list {
			if at := &first[list[i].id]; *at == nil {
				*at = &list[i]
			}
		}
	}
	var merged []cloudimageArg
	for _, arg := range first {
		if arg != nil {
			merged = append(merged, *arg)
		}
	}
	a.list = merged
	return a
}

// splitCloudimage takes a query apart. A parameter that is given twice, by whatever names, has to have one value.
func splitCloudimage(rawQuery string, strict bool) (list []cloudimageArg, err error) {
	for pair := range strings.SplitSeq(rawQuery, "&") {
		if pair == "" {
			continue
		}
		name, value, _ := strings.Cut(pair, "=")
		name = unescaped(name)
		id, known := cloudimageIndex[name]
		if !known {
			if strict {
				return nil, &ParamError{Param: name, Value: value, Reason: "unknown parameter"}
			}
			continue
		}
		decoded, err := url.QueryUnescape(value)
		if err != nil {
			return nil, &ParamError{Param: name, Value: value, Reason: "a percent sign that is not followed by two hexadecimal digits"}
		}
		arg := cloudimageArg{id, name, decoded}
		if decoded == "" && !cloudimageParams[id].empty {
			return nil, arg.fail("no value")
		}
		again := false
		for _, before := range list {
			if before.id == id {
				if again = true; before.value != decoded {
					return nil, &ParamError{Param: name, Value: decoded, Reason: "given twice, and before as " + printable(before.name) + "=" + printable(before.value)}
				}
			}
		}
		if !again {
			list = append(list, arg)
		}
	}
	return list, nil
}

// read turns parameters into a request, but for the image.
func (d Cloudimage) read(args cloudimageArgs) (Request, error) {
	r := &cloudimageReader{other: d.other}
	for i := range args.list {
		a := &args.list[i]
		p := &cloudimageParams[a.id]
		r.given[a.id/64] |= 1 << (a.id % 64)
		if problem := p.read(r, a.value); problem != "" {
			return Request{}, a.fail(problem)
		}
	}
	wrong := func(name, problem string, status int) (Request, error) {
		e := &ParamError{Param: name, Reason: problem, Status: status}
		if a := args.value(name); a != nil {
			e.Param, e.Value = a.name, a.value
		}
		return Request{}, e
	}
	if name, problem := r.finish(); problem != "" {
		return wrong(name, problem, r.status)
	}
	req := Request{
		Params: r.params, Expires: r.expires, MaxAge: r.maxAge, Download: r.download, Downloads: r.downloads,
		Preset: args.preset, Beside: args.beside,
	}
	req.Image.Version = r.version
	if name, problem := tooLarge(&req.Params.Plan); problem != "" {
		return wrong(cloudimageNames[name], problem, 0)
	}
	return req, nil
}

// cloudimageNames are the names here of the parameters that tooLarge blames.
var cloudimageNames = map[string]string{"dpr": "dpr", "ar": "aspect_ratio"}

func (d Cloudimage) folders() []string {
	all := slices.AppendSeq([]string{d.Prefix}, maps.Values(d.Hosts))
	return slices.AppendSeq(all, maps.Values(d.Aliases))
}

// check reports a setting that makes no sense.
func (d Cloudimage) check() error {
	if len(d.Hosts) == 0 && len(d.Aliases) == 0 && d.Prefix == "" {
		return fmt.Errorf("imagecdn: none of Cloudimage.Hosts, Aliases and Prefix is set")
	}
	if err := checkHosts("Cloudimage.Hosts", d.Hosts); err != nil {
		return err
	}
	for alias := range d.Aliases {
		if len(alias) < 3 || alias[0] != '_' || alias[len(alias)-1] != '_' || strings.Contains(alias, "/") {
			return fmt.Errorf("imagecdn: Cloudimage.Aliases: %q does not begin and end with an underscore, as _media_ does", alias)
		}
	}
	if err := checkFolders("Cloudimage.Aliases", d.Aliases); err != nil {
		return err
	}
	if d.Prefix != "" {
		if err := checkFolders("Cloudimage", map[string]string{"Prefix": d.Prefix}); err != nil {
			return err
		}
	}
	parse := func(query string) error {
		args, err := splitCloudimage(query, true)
		if err != nil {
			return err
		}
		for _, a := range args {
			if a.id == cloudimageIndex["p"] {
				return a.fail("a preset in a preset or a rule")
			}
		}
		all, err := d.watermarked(cloudimageArgs{}.merge([][]cloudimageArg{args}))
		if err == nil {
			_, err = d.read(all)
		}
		return err
	}
	if err := checkPresets("Cloudimage.Presets", d.Presets, parse); err != nil {
		return err
	}
	for i, rule := range d.Rules {
		if err := parse(rule.Query); err != nil {
			return fmt.Errorf("imagecdn: Cloudimage.Rules[%d]: %w", i, err)
		}
	}
	if d.Watermark != "" {
		if err := parse("wat=1&" + d.Watermark); err != nil {
			return fmt.Errorf("imagecdn: Cloudimage.Watermark: %w", err)
		}
	}
	return nil
}
