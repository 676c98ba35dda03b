package storetest

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"
)

// same checks that two values are equal, to the microsecond and the byte. Nil and empty are equal, except for a
// Boundary. Rules and conditions are compared by their JSON, which is all that a store keeps of them.
func (w *fixture) same(got, want any, what string) {
	w.Helper()
	g, h := dump(got), dump(want)
	if slices.Equal(g, h) {
		return
	}
	var diff strings.Builder
	for _, line := range g {
		if !slices.Contains(h, line) {
			fmt.Fprintf(&diff, "\n\tgot  %s", line)
		}
	}
	for _, line := range h {
		if !slices.Contains(g, line) {
			fmt.Fprintf(&diff, "\n\twant %s", line)
		}
	}
	if diff.Len() == 0 {
		diff.WriteString("\n\tthe same things in another order or number")
	}
	w.Errorf("%s:%s", what, &diff)
}

// dump returns a value as lines of "path = value".
func dump(v any) []string {
	d := dumper{}
	d.value("", reflect.ValueOf(v))
	return d
}

type dumper []string

func (d *dumper) line(path, format string, args ...any) {
	*d = append(*d, strings.TrimPrefix(path, ".")+" = "+fmt.Sprintf(format, args...))
}

func (d *dumper) value(path string, v reflect.Value) {
	if !v.IsValid() {
		d.line(path, "nil")
		return
	}
	if v.CanInterface() {
		if t, ok := v.Interface().(time.Time); ok {
			// The location is part of it: callers print times and compare them with ==.
			d.line(path, "%s %s", t.Format("2006-01-02T15:04:05.000000000"), t.Location())
			return
		}
	}
	switch v.Kind() {
	case reflect.Slice, reflect.Array:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			if v.Kind() == reflect.Slice {
				d.line(path, "%q", v.Bytes())
			} else {
				d.line(path, "%v", v)
			}
			return
		}
		if strings.HasSuffix(path, ".Boundary") {
			d.line(path, "nil: %t", v.IsNil())
		}
		d.line(path, "%d of them", v.Len())
		for i := range v.Len() {
			d.value(fmt.Sprintf("%s[%d]", path, i), v.Index(i))
		}
	case reflect.Map:
		m := make(map[string]string)
		for it := v.MapRange(); it.Next(); {
			m[fmt.Sprint(it.Key())] = fmt.Sprintf("%T %v", it.Value().Interface(), it.Value())
		}
		for _, k := range slices.Sorted(maps.Keys(m)) {
			d.line(path, "%q: %s", k, m[k])
		}
	case reflect.Pointer, reflect.Interface:
		d.value(path, v.Elem())
	case reflect.Struct:
		if v.CanInterface() {
			switch x := v.Interface().(type) {
			case json.Marshaler: // a rule, a condition
				text, err := x.MarshalJSON()
				d.line(path, "%s %v", text, err)
				return
			case fmt.Stringer: // netip.Prefix
				d.line(path, "%s", x)
				return
			}
		}
		for i := range v.NumField() {
			d.value(path+"."+v.Type().Field(i).Name, v.Field(i))
		}
	case reflect.String:
		d.line(path, "%q", v.String())
	default:
		d.line(path, "%v", v)
	}
}
