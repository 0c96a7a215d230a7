package cdn

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// BaseURL returns the base URL of an API, without a slash at its end: value, or otherwise where value is empty. It is what adapters
// make of their Options.API.
func BaseURL(adapter, value, otherwise string) (string, error) {
	if value == "" {
		value = otherwise
	}
	u, err := url.Parse(value)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" {
		return "", fmt.Errorf("%s: Options.API is not the URL of an API, such as %s", adapter, otherwise)
	}
	return strings.TrimRight(value, "/"), nil
}

// Check returns an [*Error] that is not Temporary where b is not what these features allow: its kind, how many values, and their bytes. It is what
// adapters begin with. That values are distinct, it takes for granted.
func (f Features) Check(b Batch) error {
	form, ok := f.Forms[b.Kind]
	switch {
	case !ok:
		return &Error{Reason: fmt.Sprintf("it has no purge by %s", b.Kind)}
	case b.Soft && (!f.Soft || form.Hard):
		return &Error{Reason: fmt.Sprintf("it has no soft purge by %s", b.Kind)}
	case b.Kind == All && len(b.Values) > 0:
		return &Error{Reason: "a purge of everything has no values"}
	case b.Kind == All:
		return nil
	case len(b.Values) == 0:
		return &Error{Reason: fmt.Sprintf("a purge by %s has at least one value", b.Kind)}
	case len(b.Values) > max(1, form.MaxItems):
		return &Error{Reason: fmt.Sprintf("%d values in a call that takes %d", len(b.Values), max(1, form.MaxItems))}
	}
	if form.MaxBytes > 0 {
		n := 0
		for _, v := range b.Values {
			n += len(v) + form.ItemBytes
		}
		if n > form.MaxBytes {
			return &Error{Reason: fmt.Sprintf("%d bytes of values in a call that takes %d", n, form.MaxBytes)}
		}
	}
	return nil
}

// Sift returns those of values that take accepts, as it turns them out, and the others as failures that no other try helps.
func Sift(values []string, take func(value string) (string, error)) (good []string, bad []Failure) {
	for _, v := range values {
		switch taken, err := take(v); {
		case err != nil:
			bad = append(bad, Failure{Value: v, Reason: OneLine(err.Error())})
		default:
			good = append(good, taken)
		}
	}
	return good, bad
}

// SplitURL parts an absolute URL of http or https, without a fragment, into its host and what follows: a path, escaped as it was and at
// least "/", with its query.
func SplitURL(value string) (host, path string, err error) {
	u, err := url.Parse(value)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil {
		return "", "", errors.New("it is not an absolute URL of http or https")
	}
	if strings.Contains(value, "#") {
		return "", "", errors.New("it has a fragment, which no cache sees")
	}
	for i := 0; i < len(value); i++ {
		if value[i] <= ' ' || value[i] == 0x7f {
			return "", "", errors.New("it has spaces, which are %20 in a URL")
		}
	}
	_, path, _ = strings.Cut(value, "://")
	path = path[min(len(path), len(u.Host)):]
	if !strings.HasPrefix(path, "/") {
		path = "/" + path
	}
	return u.Host, path, nil
}

// Hide returns err without a secret that a CDN's own words repeat.
func Hide(err error, secret string) error {
	if e, ok := errors.AsType[*Error](err); ok && secret != "" && strings.Contains(e.Reason, secret) {
		h := *e
		h.Reason = strings.ReplaceAll(h.Reason, secret, "…")
		return &h
	}
	return err
}
