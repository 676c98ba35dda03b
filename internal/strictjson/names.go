package strictjson

import (
	"cmp"
	"encoding"
	"encoding/json"
	"reflect"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

// names is a set that is cheap while it is small.
type names struct {
	n    int
	few  []string
	many map[string]struct{}
}

// add adds name. It returns false if the set already has it.
func (s *names) add(name []byte) bool {
	if s.many == nil {
		for _, f := range s.few {
			if f == string(name) {
				return false
			}
		}
		if len(s.few) < 16 {
			s.n++
			s.few = append(s.few, string(name))
			return true
		}
		s.many = make(map[string]struct{}, 64)
		for _, f := range s.few {
			s.many[f] = struct{}{}
		}
	}
	if _, ok := s.many[string(name)]; ok {
		return false
	}
	s.n++
	s.many[string(name)] = struct{}{}
	return true
}

// appendFold appends the same text for all names that encoding/json considers equal. Each character becomes the
// smallest of those equal to it by simple case folding.
func appendFold(dst, name []byte) []byte {
	for i := 0; i < len(name); {
		if c := name[i]; c < utf8.RuneSelf {
			if c >= 'a' && c <= 'z' {
				c -= 'a' - 'A'
			}
			dst = append(dst, c)
			i++
			continue
		}
		r, n := utf8.DecodeRune(name[i:])
		dst = utf8.AppendRune(dst, foldRune(r))
		i += n
	}
	return dst
}

func foldRune(r rune) rune {
	for {
		next := unicode.SimpleFold(r)
		if next <= r {
			return next
		}
		r = next
	}
}

var (
	jsonUnmarshaler = reflect.TypeFor[json.Unmarshaler]()
	textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// plain follows pointers and returns nil for a type that decodes itself.
func plain(t reflect.Type) reflect.Type {
	for t != nil {
		if p := reflect.PointerTo(t); p.Implements(jsonUnmarshaler) || p.Implements(textUnmarshaler) {
			return nil
		}
		if t.Kind() != reflect.Pointer {
			return t
		}
		t = t.Elem()
	}
	return nil
}

// elem returns the type of an array's elements if the array is decoded into a t.
func elem(t reflect.Type) reflect.Type {
	if t = plain(t); t != nil && (t.Kind() == reflect.Slice || t.Kind() == reflect.Array) {
		return t.Elem()
	}
	return nil
}

// members returns a function that reports whether an object decoded into a t may have a member, and of which type.
func members(t reflect.Type) func(name []byte) (reflect.Type, bool) {
	if t = plain(t); t != nil {
		switch t.Kind() {
		case reflect.Struct:
			fields := fieldsOf(t)
			return func(name []byte) (reflect.Type, bool) {
				ft, ok := fields[string(name)]
				return ft, ok
			}
		case reflect.Map:
			return func([]byte) (reflect.Type, bool) { return t.Elem(), true }
		}
	}
	return func([]byte) (reflect.Type, bool) { return nil, true }
}

var fieldCache sync.Map // of reflect.Type to map[string]reflect.Type

// fieldsOf returns the members that encoding/json knows of a struct, by their exact names. It follows the same rules:
// Fields of untagged embedded structs are promoted. Of several fields of one name the least deep wins, then the tagged
// one. If there is still more than one, none of them counts.
func fieldsOf(t reflect.Type) map[string]reflect.Type {
	if known, ok := fieldCache.Load(t); ok {
		return known.(map[string]reflect.Type)
	}
	fields := map[string]reflect.Type{}
	settled := map[string]bool{} // by a less deep field
	visited := map[reflect.Type]bool{}
	for level := []reflect.Type{t}; len(level) > 0; {
		type found struct {
			types  []reflect.Type
			tagged []reflect.Type
		}
		here := map[string]*found{}
		var next []reflect.Type
		count := map[reflect.Type]int{}
		for _, st := range level {
			count[st]++
		}
		for _, st := range level {
			if visited[st] {
				continue
			}
			visited[st] = true
			for i := range st.NumField() {
				f := st.Field(i)
				tag := f.Tag.Get("json")
				name, _, _ := strings.Cut(tag, ",")
				inner := f.Type
				if inner.Name() == "" && inner.Kind() == reflect.Pointer {
					inner = inner.Elem()
				}
				embeds := f.Anonymous && inner.Kind() == reflect.Struct
				if tag == "-" || !f.IsExported() && !embeds {
					continue
				}
				if !validName(name) {
					name = ""
				}
				if embeds && name == "" {
					next = append(next, inner)
					continue
				}
				fd := here[cmp.Or(name, f.Name)]
				if fd == nil {
					fd = &found{}
					here[cmp.Or(name, f.Name)] = fd
				}
				for range count[st] { // a struct embedded twice at one depth hides its own fields
					fd.types = append(fd.types, f.Type)
					if name != "" {
						fd.tagged = append(fd.tagged, f.Type)
					}
				}
			}
		}
		for name, fd := range here {
			if settled[name] {
				continue
			}
			settled[name] = true
			switch {
			case len(fd.tagged) == 1:
				fields[name] = fd.tagged[0]
			case len(fd.tagged) == 0 && len(fd.types) == 1:
				fields[name] = fd.types[0]
			}
		}
		level = next
	}
	fieldCache.Store(t, fields)
	return fields
}

// isFieldButForCase reports whether a struct has a field of this name, which is written as appendFold writes it.
func isFieldButForCase(t reflect.Type, folded []byte) bool {
	for name := range fieldsOf(plain(t)) {
		if string(appendFold(nil, []byte(name))) == string(folded) {
			return true
		}
	}
	return false
}

// validName reports whether encoding/json accepts the name of a tag.
func validName(name string) bool {
	for _, r := range name {
		if !strings.ContainsRune("!#$%&()*+-./:;<=>?@[]^_{|}~ ", r) && !unicode.IsLetter(r) && !unicode.IsDigit(r) {
			return false
		}
	}
	return name != ""
}
