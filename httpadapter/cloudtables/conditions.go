package cloudtables

import (
	"net/http"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/internal/form"
)

// condition is one entry of the "conditions" option: it filters the rows that a caller sees, and sets a value of new
// rows.
type condition struct {
	point string // the data point's id or display name, as given
	op    latchkey.Op
	value string
	set   bool
	force string // written when set
}

// parseConditions reads every form of the option: one object, a list of objects, a map {point: value}, or any of
// these as JSON text. An invalid condition is refused, never dropped: each one removes rows.
func parseConditions(v *form.Value) ([]condition, error) {
	if v.Kind == form.Text {
		parsed, err := form.ParseJSON([]byte(v.Text))
		if err != nil {
			return nil, refuseCondition("conditions are not JSON")
		}
		v = parsed
	}
	var out []condition
	switch v.Kind {
	case form.List:
		for _, item := range v.Items {
			c, err := parseCondition(item)
			if err != nil {
				return nil, err
			}
			out = append(out, c)
		}
	case form.Map:
		if v.Get("id") != nil || v.Get("name") != nil {
			c, err := parseCondition(v)
			if err != nil {
				return nil, err
			}
			out = append(out, c)
			break
		}
		for _, point := range v.Names {
			// {value: 5} is a condition without its id, not one on a point named "value".
			switch point {
			case "value", "op", "set", "setValue":
				return nil, refuseCondition("a condition needs an id or a name")
			}
			value, err := valueText(v.Get(point))
			if err != nil {
				return nil, err
			}
			c := condition{point: point, op: latchkey.Eq, value: value, set: true, force: value}
			if err := checkPoint(point); err != nil {
				return nil, err
			}
			out = append(out, c)
		}
	default:
		return nil, refuseCondition("conditions are an object or a list of objects")
	}
	if len(out) > maxConditions {
		return nil, refuseCondition("too many conditions")
	}
	if _, err := forced(out); err != nil {
		return nil, err
	}
	return out, nil
}

func parseCondition(v *form.Value) (condition, error) {
	if v.Kind != form.Map {
		return condition{}, refuseCondition("a condition is an object")
	}
	c := condition{op: latchkey.Eq, set: true}
	for _, name := range v.Names {
		switch name {
		case "id", "name", "op", "value", "set", "setValue":
		default:
			return condition{}, refuseCondition("a condition has id or name, op, value, set and setValue")
		}
	}
	id, err := optionalText(v, "id")
	if err != nil {
		return condition{}, err
	}
	name, err := optionalText(v, "name")
	if err != nil {
		return condition{}, err
	}
	switch {
	case id != "" && name != "":
		return condition{}, refuseCondition("a condition has an id or a name, not both")
	case id == "" && name == "":
		return condition{}, refuseCondition("a condition needs an id or a name")
	}
	c.point = id + name
	if err := checkPoint(c.point); err != nil {
		return condition{}, err
	}
	// A client that drops null values sends no value at all. The value is then unknown, and the request is refused.
	if c.value, err = valueText(v.Get("value")); err != nil {
		return condition{}, err
	}
	op, err := optionalText(v, "op")
	if err != nil {
		return condition{}, err
	}
	switch latchkey.Op(op) {
	case "":
		if isGiven(v.Get("op")) {
			return condition{}, refuseCondition("op is none of the six comparisons")
		}
	case latchkey.Eq, latchkey.Ne, latchkey.Lt, latchkey.Le, latchkey.Gt, latchkey.Ge:
		c.op = latchkey.Op(op)
	default:
		return condition{}, refuseCondition("op is none of the six comparisons")
	}
	if set := v.Get("set"); isGiven(set) {
		switch set.Text {
		case "true", "1":
		case "false", "0":
			c.set = false
		default:
			return condition{}, refuseCondition("set is true or false")
		}
	}
	c.force = c.value
	if setValue := v.Get("setValue"); isGiven(setValue) {
		if c.force, err = valueText(setValue); err != nil {
			return condition{}, err
		}
	} else if c.set && c.op != latchkey.Eq {
		return condition{}, &refusal{status: http.StatusBadRequest, msg: msgSetValue, data: &refusalData{ID: c.point},
			cause: latchkey.ErrBadCondition}
	}
	if !c.set {
		c.force = ""
	}
	return c, nil
}

// isGiven reports whether v is present. null counts as absent, as in a form, whose clients drop it.
func isGiven(v *form.Value) bool { return v != nil && v.Kind != form.Null }

func optionalText(v *form.Value, name string) (string, error) {
	v = v.Get(name)
	switch {
	case !isGiven(v):
		return "", nil
	case v.Kind != form.Text:
		return "", refuseCondition(name + " is a text")
	}
	return v.Text, nil
}

// valueText returns a value as text. The schema that is bound when data is read gives it its type.
func valueText(v *form.Value) (string, error) {
	if !isGiven(v) {
		return "", refuseCondition("a condition needs a value")
	}
	switch v.Kind {
	case form.Text, form.Number, form.Bool:
	default:
		return "", refuseCondition("a value is a text, a number or a boolean")
	}
	if len(v.Text) > maxValue {
		return "", refuseCondition("a value is too long")
	}
	return v.Text, nil
}

// checkPoint checks a data point's id or name.
func checkPoint(point string) error {
	if point == "" || len(point) > maxPoint {
		return refuseCondition("an id or name has 1 to 256 bytes")
	}
	return nil
}

// filters returns the conditions on rows. All of them must hold.
func filters(conditions []condition) []latchkey.Condition {
	var out []latchkey.Condition
	for _, c := range conditions {
		out = append(out, latchkey.Where(c.point, c.op, c.value))
	}
	return out
}

// forced returns the values to write into new rows. Two different values for one point are refused.
func forced(conditions []condition) (map[string]any, error) {
	var out map[string]any
	for _, c := range conditions {
		if !c.set {
			continue
		}
		if old, ok := out[c.point]; ok && old != c.force {
			return nil, refuseCondition("two conditions set different values")
		}
		if out == nil {
			out = map[string]any{}
		}
		out[c.point] = c.force
	}
	return out, nil
}
