package command

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/imagecdn/imagecdn"
)

// pairFlags collects NAME=VALUE.
type pairFlags map[string]string

func (p pairFlags) String() string { return "" }

func (p pairFlags) Set(v string) error {
	name, value, ok := strings.Cut(v, "=")
	if !ok || name == "" || value == "" {
		return errors.New("give NAME=VALUE")
	}
	if _, again := p[name]; again {
		return fmt.Errorf("%q is given twice", name)
	}
	p[name] = value
	return nil
}

// dialectFlags say which URLs there are.
type dialectFlags struct {
	dialect, prefix, defaults, watermark, widths string

	hosts, aliases, presets pairFlags
	presetsOnly, strict     bool
}

func (d *dialectFlags) define(f *flag.FlagSet) {
	d.hosts, d.aliases, d.presets = make(pairFlags), make(pairFlags), make(pairFlags)
	f.StringVar(&d.dialect, "dialect", "native", "whose `URLs` are answered: native, imgix or cloudimage (docs/imgix.md, docs/cloudimage.md)")
	f.StringVar(&d.prefix, "prefix", "", "with -dialect: the `SOURCE[/FOLDER]` of paths that name none (default: that of -source, if it is one)")
	f.Var(d.hosts, "host", "with -dialect: a host in URLs of originals and its source, `HOST=SOURCE[/FOLDER]`; may be repeated (default: those of the sources with URLs without a path)")
	f.Var(d.aliases, "alias", "with -dialect cloudimage: an alias, `_NAME_=SOURCE[/FOLDER]`; may be repeated")
	f.StringVar(&d.defaults, "defaults", "", "with -dialect imgix: a `query` of parameters that URLs have where they do not have them")
	f.StringVar(&d.watermark, "watermark", "", "with -dialect cloudimage: the `query` of the watermark that wat=1 has by itself")
	f.Var(d.presets, "preset", "a `NAME=QUERY` for preset=NAME in URLs (p=NAME with -dialect cloudimage); may be repeated")
	f.BoolVar(&d.presetsOnly, "presets-only", false, "answer only URLs with a preset")
	f.StringVar(&d.widths, "widths", "", "answer only URLs whose w, if they have one, is among these `pixels`: 320,640,1280")
	f.BoolVar(&d.strict, "strict", false, "answer 400 to unknown parameters")
}

// set puts what the flags say into the options of a handler of these sources.
func (d *dialectFlags) set(o *imagecdn.Options, sources sourceFlags) error {
	o.PresetsOnly = d.presetsOnly
	if d.widths != "" {
		o.Allow = new(imagecdn.Allow)
		for item := range strings.SplitSeq(d.widths, ",") {
			w, err := strconv.Atoi(item)
			if err != nil {
				return usageError(fmt.Sprintf("-widths takes whole numbers, and got %q", item))
			}
			o.Allow.Widths = append(o.Allow.Widths, w)
		}
	}
	foreign := func(names ...string) error {
		given := map[string]bool{
			"prefix": d.prefix != "", "host": len(d.hosts) > 0, "alias": len(d.aliases) > 0,
			"defaults": d.defaults != "", "watermark": d.watermark != "",
		}
		for _, name := range names {
			if given[name] {
				return usageError(fmt.Sprintf("-%s is not for -dialect %s", name, d.dialect))
			}
		}
		return nil
	}
	hosts, prefix := d.hosts, d.prefix
	if len(hosts) == 0 {
		hosts = hostsOf(sources)
	}
	if names := slices.Collect(maps.Keys(sources)); prefix == "" && len(names) == 1 {
		prefix = names[0]
	}
	switch d.dialect {
	case "native":
		o.Strict = d.strict
		if len(d.presets) > 0 {
			o.Presets = d.presets
		}
		return foreign("prefix", "host", "alias", "defaults", "watermark")
	case "imgix":
		o.Dialect = imagecdn.Imgix{Source: prefix, Hosts: hosts, Defaults: d.defaults, Presets: d.presets, Strict: d.strict}
		return foreign("alias", "watermark")
	case "cloudimage":
		o.Dialect = imagecdn.Cloudimage{Prefix: prefix, Hosts: hosts, Aliases: d.aliases, Presets: d.presets, Watermark: d.watermark, Strict: d.strict}
		return foreign("defaults")
	}
	return usageError(fmt.Sprintf("-dialect takes native, imgix or cloudimage, and got %q", d.dialect))
}

// hostsOf are the hosts of the sources whose URLs have no path, so that paths there are paths here.
func hostsOf(sources sourceFlags) map[string]string {
	hosts := make(map[string]string)
	for _, name := range slices.Sorted(maps.Keys(sources)) {
		u, err := url.Parse(sources[name])
		if err != nil || u.Host == "" || !onWeb(sources[name]) || strings.Trim(u.Path, "/") != "" {
			continue
		}
		host := strings.ToLower(u.Host)
		host = strings.TrimSuffix(strings.TrimSuffix(host, ":80"), ":443")
		if _, taken := hosts[host]; !taken {
			hosts[host] = name
		}
	}
	return hosts
}

// example is a URL of an image of a source, as the dialect has it.
func (d *dialectFlags) example(name string) string {
	switch d.dialect {
	case "imgix":
		return "/PATH?w=500"
	case "cloudimage":
		return "/v7/https://HOST/PATH?w=500"
	}
	return "/" + name + "/PATH?w=500"
}
