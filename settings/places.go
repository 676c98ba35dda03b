package settings

import (
	"maps"
	"slices"
)

// A Place is where something secret is that the settings name. It does not hold it.
type Place struct {
	Member   string // of the settings file: "keyring", "store.dsn", "legacy.peppers.2019"; "store.file" is a database
	File     string // the path as it is opened, or ""
	Variable string // of the environment, or ""
}

// Places returns where the secrets are that the settings name, and the database of SQLite, which holds their digests.
// It is for checks, such as who can read a file.
func (s *Settings) Places() []Place {
	var out []Place
	add := func(member string, from *source) {
		switch {
		case from == nil:
		case from.File != "":
			out = append(out, Place{Member: member, File: s.abs(from.File)})
		default:
			out = append(out, Place{Member: member, Variable: from.Env})
		}
	}
	add("keyring", s.file.Keyring)
	add("store.dsn", s.file.Store.DSN)
	if file := s.file.Store.File; file != "" {
		add("store.file", &source{File: file})
	}
	if s.file.Legacy != nil {
		for _, name := range slices.Sorted(maps.Keys(s.file.Legacy.Peppers)) {
			add("legacy.peppers."+name, s.file.Legacy.Peppers[name])
		}
	}
	return out
}
