package api

import (
	"bytes"
	"encoding/json"
	"reflect"
	"slices"
)

// patch is a JSON Merge Patch (RFC 7396) of an object.
type patch struct{ members []member }

// readPatch reads the body as a patch.
func (c *call) readPatch() (*patch, error) {
	if err := c.readText(); err != nil {
		return nil, err
	}
	members, err := membersOf(c.body)
	return &patch{members}, err
}

// has reports whether the patch is of one of some members.
func (p *patch) has(names ...string) bool {
	return slices.ContainsFunc(p.members, func(m member) bool { return slices.Contains(names, m.name) })
}

// onlyMember reports whether a patch is of one member alone.
func onlyMember(p *patch, name string) bool { return len(p.members) == 1 && p.members[0].name == name }

// apply patches the struct that v points to. What results is read as strictly as a body: an error names its member.
func (p *patch) apply(v any) error {
	was, err := json.Marshal(v)
	if err != nil {
		return err
	}
	into := reflect.ValueOf(v).Elem()
	fresh := reflect.New(into.Type()).Elem()
	if err := decode(merge(was, p.members), fresh); err != nil {
		return err
	}
	into.Set(fresh)
	return nil
}

// merge applies a patch, which has passed checkJSON, to an object.
func merge(object []byte, with []member) []byte {
	members, _ := membersOf(object) // RFC 7396 §2: what is no object counts as an empty one
	places := make(map[string]int, len(members))
	for i, m := range members {
		places[m.name] = i
	}
	for _, m := range with {
		at, known := places[m.name]
		switch {
		case isNull(m.text):
			if known {
				members[at].text = nil
			}
			continue
		case isObject(m.text):
			inner, _ := membersOf(m.text)
			var old []byte
			if known {
				old = members[at].text
			}
			m.text = merge(old, inner)
		}
		if known {
			members[at].text = m.text
		} else {
			members = append(members, m)
		}
	}
	var b bytes.Buffer
	b.WriteByte('{')
	for _, m := range members {
		if m.text == nil {
			continue // removed
		}
		if b.Len() > 1 {
			b.WriteByte(',')
		}
		name, _ := json.Marshal(m.name) // of a text: no error
		b.Write(name)
		b.WriteByte(':')
		b.Write(m.text)
	}
	b.WriteByte('}')
	return b.Bytes()
}
