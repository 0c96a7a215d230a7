package command

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/BurntSushi/toml"
)

// configFlags are a file of settings. The file is TOML, as operators need comments, and has every flag by its name:
//
//	listen = "127.0.0.1:8080"
//	memory = "1GiB"
//	cors = ["https://shop.example", "https://*.shop.example"]
//	api-key = "$API_KEY"
//
//	[source]
//	photos = "/srv/photos"
//
// It is read by the flags themselves, so that the two cannot differ: a list is a flag that is repeated, and a table one that is repeated
// with NAME=VALUE. A flag on the command line wins over the file, with all that the file has of it.
type configFlags struct {
	file  string
	print bool
}

func (c *configFlags) define(f *flag.FlagSet) {
	f.StringVar(&c.file, "config", "", "`file` of settings, in TOML, by the names of flags, which win over it")
	f.BoolVar(&c.print, "print-config", false, "print a file for -config with all settings, their defaults and what they mean, and do nothing else; flags that are given are set in it")
}

// maxConfig bounds what is read of a file, in bytes.
const maxConfig = 1 << 20

// read reads the file, or prints one, which done reports.
func (c *configFlags) read(f *flag.FlagSet, examples map[string]string, stdout io.Writer) (done bool, err error) {
	switch {
	case c.print && c.file != "":
		return true, usageError("-print-config prints what the command line says, and takes no -config")
	case c.print:
		text, err := example(f, examples)
		if err == nil {
			_, err = io.WriteString(stdout, text)
		}
		return true, err
	case c.file == "":
		return false, nil
	}
	file, err := os.Open(c.file)
	if err != nil {
		return false, err
	}
	defer file.Close()
	b, err := io.ReadAll(io.LimitReader(file, maxConfig+1))
	if err != nil {
		return false, err
	}
	if len(b) > maxConfig {
		return false, fmt.Errorf("%s: is larger than a mebibyte", c.file)
	}
	return false, configure(f, c.file, string(b), os.LookupEnv)
}

// inPlaceOf are flags of which one makes the other void.
var inPlaceOf = map[string]string{"api-key": "api-key-file", "api-key-file": "api-key"}

// notInFiles are flags about the file.
var notInFiles = []string{"config", "print-config"}

// configure sets what a file says, but for flags that have been set. env looks up environment variables.
func configure(f *flag.FlagSet, file, text string, env func(string) (string, bool)) error {
	given := make(map[string]bool)
	f.Visit(func(fl *flag.Flag) { given[fl.Name], given[inPlaceOf[fl.Name]] = true, true })
	var settings map[string]toml.Primitive
	md, err := toml.Decode(text, &settings)
	if err != nil {
		return atLine(file, err)
	}
	var names []string // in the order of the file
	for _, key := range md.Keys() {
		if !slices.Contains(names, key[0]) {
			names = append(names, key[0])
		}
	}
	for _, name := range names {
		s := &setting{flag: f.Lookup(name), set: f.Set, env: env, file: file, void: given[name]}
		if s.flag == nil || slices.Contains(notInFiles, name) {
			s.refused = fmt.Errorf("there is no setting %q: the settings are the flags of imagecdn serve", name)
		}
		// By decoding into it an error gets its line.
		if err := md.PrimitiveDecode(settings[name], s); err != nil {
			return atLine(file, err)
		}
	}
	return nil
}

// atLine says where in a file what is wrong.
func atLine(file string, err error) error {
	if p, ok := errors.AsType[toml.ParseError](err); ok && p.Position.Line > 0 {
		return fmt.Errorf("%s:%d: %s", file, p.Position.Line, printable(p.Message))
	}
	return fmt.Errorf("%s: %s", file, printable(strings.TrimPrefix(err.Error(), "toml: ")))
}

// A setting is a flag that a file sets.
type setting struct {
	flag    *flag.Flag
	set     func(name, value string) error
	env     func(string) (string, bool)
	file    string
	void    bool  // the command line has it
	refused error // why there is none
}

// variable is a text that an environment variable's value is put in the place of, as in files of -cdns.
var variable = regexp.MustCompile(`^\$[A-Za-z_][A-Za-z0-9_]*$`)

// UnmarshalTOML sets the flag.
func (s *setting) UnmarshalTOML(v any) error {
	if s.refused != nil {
		return s.refused
	}
	if s.void {
		return nil
	}
	if c, ok := s.flag.Value.(*cdnsFlag); ok {
		if inline, ok := v.(map[string]any); ok {
			err := s.set(s.flag.Name, "")
			*c = cdnsFlag{inline: inline, in: s.file}
			return err
		}
	}
	texts, err := s.texts(v)
	if err != nil {
		return fmt.Errorf("%s %w", s.flag.Name, err)
	}
	for _, text := range texts {
		if err := s.set(s.flag.Name, text); err != nil {
			return fmt.Errorf("%s = %q: %w", s.flag.Name, text, err)
		}
	}
	return nil
}

// texts are what the flag is given, once or again and again.
func (s *setting) texts(v any) (all []string, err error) {
	switch s.flag.Value.(type) {
	case sourceFlags, pairFlags:
		table, ok := v.(map[string]any)
		if !ok {
			return nil, fmt.Errorf("is a table, such as %s.NAME = \"…\"", s.flag.Name)
		}
		for _, name := range slices.Sorted(maps.Keys(table)) {
			text, err := s.text(table[name])
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			if strings.Contains(name, "=") {
				return nil, fmt.Errorf("%q has a =", name)
			}
			all = append(all, name+"="+text)
		}
		return all, nil
	case *allowFlags:
		table, ok := v.(map[string]any)
		if !ok {
			return nil, errors.New(`is a table, such as allow.w = ["320", "640"] and allow.h = true`)
		}
		for _, name := range slices.Sorted(maps.Keys(table)) {
			if table[name] == true { // any value
				all = append(all, url.QueryEscape(name))
				continue
			}
			values, err := s.list(table[name])
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			for i := range values {
				values[i] = url.QueryEscape(values[i])
			}
			all = append(all, url.QueryEscape(name)+"="+strings.Join(values, ","))
		}
		return all, nil
	case *listFlag, *secretFlags, *proxyFlags:
		return s.list(v)
	case *rungFlag, *privateFlag:
		if _, ok := v.([]any); ok {
			all, err = s.list(v)
			return []string{strings.Join(all, ",")}, err
		}
	}
	if b, ok := v.(bool); ok {
		if f, ok := s.flag.Value.(interface{ IsBoolFlag() bool }); !ok || !f.IsBoolFlag() {
			return nil, fmt.Errorf("cannot be %v", b)
		}
		return []string{fmt.Sprint(b)}, nil
	}
	text, err := s.text(v)
	return []string{text}, err
}

// list is a list, or one text in its place.
func (s *setting) list(v any) (all []string, err error) {
	items, ok := v.([]any)
	if !ok {
		items = []any{v}
	}
	for _, item := range items {
		text, err := s.text(item)
		if err != nil {
			return nil, err
		}
		all = append(all, text)
	}
	return all, nil
}

// text is a text or a number.
func (s *setting) text(v any) (string, error) {
	switch v := v.(type) {
	case string:
		if !variable.MatchString(v) {
			return v, nil
		}
		if value, ok := s.env(v[1:]); ok {
			return value, nil
		}
		return "", fmt.Errorf("is the environment variable %s, which is not set", v[1:])
	case int64, float64:
		return fmt.Sprint(v), nil
	}
	return "", errors.New("takes a text or a number")
}

// example is a file with all settings of f: those that have been set, and all others in comments, with their defaults, or what they
// may look like.
func example(f *flag.FlagSet, examples map[string]string) (string, error) {
	var b strings.Builder
	b.WriteString("# Settings of imagecdn serve, for -config. Each is a flag of its name, and a flag on the command line wins.\n" +
		"# What is in comments is the default, or an example where there is none.\n" +
		"# A text that is \"$NAME\" as a whole is the value of that environment variable.\n")
	given := make(map[string]bool)
	f.Visit(func(fl *flag.Flag) { given[fl.Name] = true })
	var failed error
	f.VisitAll(func(fl *flag.Flag) {
		if slices.Contains(notInFiles, fl.Name) {
			return
		}
		// As PrintDefaults has it, with a default that the text does not tell of.
		_, usage := flag.UnquoteUsage(fl)
		b.WriteString("\n")
		for _, line := range wrap(usage, 100) {
			b.WriteString("# " + line + "\n")
		}
		if given[fl.Name] {
			text, err := inTOML(fl.Name, valueOf(fl.Value))
			if err != nil {
				failed = err
			}
			b.WriteString(text)
			return
		}
		text, ok := examples[fl.Name]
		if !ok {
			var err error
			if text, err = inTOML(fl.Name, valueOf(fl.Value)); err != nil {
				failed = err
			}
		}
		for line := range strings.Lines(text) {
			b.WriteString("#" + strings.TrimPrefix(line, "#"))
		}
	})
	return b.String(), failed
}

// valueOf is what a file has for a flag.
func valueOf(v flag.Value) any {
	switch v := v.(type) {
	case sourceFlags:
		return map[string]string(v)
	case pairFlags:
		return map[string]string(v)
	case *allowFlags:
		all := make(map[string]any)
		for name, values := range *v {
			if all[name] = values; values == nil {
				all[name] = true
			}
		}
		return all
	case *listFlag:
		return []string(*v)
	case *secretFlags:
		return []string(*v)
	case *rungFlag:
		return []int(*v)
	case *proxyFlags:
		var all []string
		for _, p := range *v {
			all = append(all, p.String())
		}
		return all
	case *privateFlag:
		if v.all || len(v.names) == 0 {
			return v.all
		}
		return v.names
	case *sizeFlag:
		// IBytes rounds. What it shows as it is, it shows.
		var again sizeFlag
		if again.Set(v.String()) == nil && again == *v {
			return v.String()
		}
		return int64(*v)
	case flag.Getter:
		if d, ok := v.Get().(time.Duration); ok {
			return d.String()
		}
		return v.Get()
	}
	return v.String()
}

// inTOML is a setting in TOML, with dotted names in place of tables, so that lines may be in any order.
func inTOML(name string, v any) (string, error) {
	var b strings.Builder
	e := toml.NewEncoder(&b)
	var err error
	switch v := v.(type) {
	case map[string]string:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			b.WriteString(name + ".")
			err = errors.Join(err, e.Encode(map[string]any{key: v[key]}))
		}
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			b.WriteString(name + ".")
			err = errors.Join(err, e.Encode(map[string]any{key: v[key]}))
		}
	default:
		err = e.Encode(map[string]any{name: v})
	}
	return b.String(), err
}

// wrap breaks a text into lines of about so many bytes.
func wrap(text string, most int) (lines []string) {
	line := ""
	for word := range strings.FieldsSeq(text) {
		if line != "" && len(line)+1+len(word) > most {
			lines, line = append(lines, line), ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	return append(lines, line)
}

// examples are what settings look like whose default is that there is none.
var examples = map[string]string{
	"source":            "source.photos = \"/srv/photos\"\nsource.shop = \"https://img.example.com/\"\n",
	"host":              "host.\"img.example.com\" = \"shop\"\n",
	"alias":             "alias._media_ = \"photos/2026\"\n",
	"preset":            "preset.thumb = \"w=200&h=200&fit=crop\"\n",
	"allow":             "allow.w = [\"320\", \"640\", \"1280\"]\nallow.fm = true\n",
	"allow-private":     "allow-private = [\"shop\"]\n",
	"api-key":           "api-key = \"$IMAGECDN_KEY\"\n",
	"api-key-file":      "api-key-file = \"/etc/imagecdn/key\"\n",
	"cdns":              "# The file's name: cdns = \"/etc/imagecdn/cdns.json\", or what would be in it:\ncdns.rings = [\n\t[{name = \"shield\", type = \"varnish\", servers = [\"http://10.0.0.1:6081\"]}],\n\t[{name = \"www\", type = \"fastly\", service = \"SU1Z0isxPaozGVKXdv0eY\", token = \"$FASTLY_TOKEN\"}],\n]\n",
	"cors":              "cors = [\"https://shop.example\", \"https://*.shop.example\"]\n",
	"timing-origins":    "timing-origins = [\"https://shop.example\"]\n",
	"defaults":          "defaults = \"auto=format&q=70\"\n",
	"ladder":            "ladder = [320, 640, 1280]\n",
	"ladder-qualities":  "ladder-qualities = [40, 60, 80]\n",
	"max-bytes":         "max-bytes = \"64MiB\"\n",
	"max-render-memory": "max-render-memory = \"1GiB\"\n",
	"prefix":            "prefix = \"photos/2026\"\n",
	"sign":              "sign = [\"@/etc/imagecdn/signing-key\"]\n",
	"sign-imgix":        "sign-imgix = [\"$IMGIX_TOKEN\"]\n",
	"sign-cloudimage":   "sign-cloudimage = [\"$CLOUDIMAGE_SALT\"]\n",
	"seal-cloudimage":   "seal-cloudimage = [\"$CLOUDIMAGE_SALT\"]\n",
	"trusted-proxy":     "trusted-proxy = [\"10.0.0.0/8\", \"2001:db8::1\"]\n",
	"watermark":         "watermark = \"wat_url=_media_/logo.png&wat_gravity=southeast\"\n",
	"widths":            "widths = \"320,640,1280\"\n",
}
