package main

import (
	"context"
	"fmt"
	"runtime/debug"
)

var versionCommand = command{
	name:    "version",
	summary: "print the version",
	output:  `{"version":"v1.2.3","go":"go1.26.0"}`,
	define: func(*flags) action {
		return func(_ context.Context, c *call) error {
			version, compiler := "unknown", "unknown"
			if info, ok := debug.ReadBuildInfo(); ok {
				version, compiler = info.Main.Version, info.GoVersion
			}
			if c.flags.json {
				return c.printJSON(struct {
					Version string `json:"version"`
					Go      string `json:"go"`
				}{version, compiler})
			}
			_, err := fmt.Fprintf(c.std.out, "latchkey %s (%s)\n", version, compiler)
			return err
		}
	},
}
