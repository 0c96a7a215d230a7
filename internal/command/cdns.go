package command

import (
	"encoding/json"
	"log/slog"
	"os"

	"github.com/imagecdn/imagecdn/purge/cdn"
	"github.com/imagecdn/imagecdn/purge/cdn/cdnfile"
)

// cdnsFlag is where the CDNs in front are told of: -cdns FILE, or what such a file has, in a configuration.
type cdnsFlag struct {
	file   string
	inline map[string]any // nil where there is none
	in     string         // the configuration that inline is from
}

func (c *cdnsFlag) String() string { return c.file }

func (c *cdnsFlag) Set(v string) error {
	*c = cdnsFlag{file: v}
	return nil
}

// open returns the CDNs; nil where there are none.
func (c *cdnsFlag) open(log *slog.Logger) (es *cdn.Edges, err error) {
	opts := &cdn.Options{Logger: log}
	switch {
	case c.inline != nil:
		b, err := json.Marshal(c.inline)
		if err == nil {
			es, err = cdnfile.Parse(b, os.LookupEnv, opts)
		}
		if err != nil {
			return nil, usageError(c.in + ": cdns: " + err.Error())
		}
	case c.file != "":
		if es, err = cdnfile.Open(c.file, opts); err != nil {
			return nil, usageError("-cdns: " + err.Error())
		}
	}
	return es, nil
}
