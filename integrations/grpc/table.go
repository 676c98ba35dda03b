package latchkeygrpc

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/latchkey-go/latchkey"
)

// Table says what each method needs. A key is the full name of a method, "/package.Service/Method", as the generated
// constants have it (shopv1.Orders_Get_FullMethodName). A method that is not in the Table is denied to everybody.
type Table map[string]Rule

// Rule is what one method needs. Make it with [Require], [RequireRows], [Authenticated] or [Public]. The zero Rule is
// refused by [New].
type Rule struct {
	kind     ruleKind
	action   latchkey.Action
	resource string
	meter    string
	credits  latchkey.Credits
	spends   bool
}

type ruleKind uint8

const (
	kindNone ruleKind = iota
	kindPublic
	kindAuthenticated
	kindRequire
	kindRows
)

// Public opens a method to everybody: health checks, reflection. No credential is read, so there is no
// [httpadapter.AccessFrom] in its handler.
func Public() Rule { return Rule{kind: kindPublic} }

// Authenticated opens a method to every caller with a valid credential, whatever its rights. The handler asks the
// Access.
func Authenticated() Rule { return Rule{kind: kindAuthenticated} }

// Require opens a method to callers that may do action on every row of resource.
//
// The resource may name fields of the request, each as a whole segment: "dataset/{id}", and "order/{order.id}" for a
// field of a message that is a field. The names are those of the proto file. Each value becomes one literal segment, as
// [latchkey.Path] makes it. A field must be a string or a whole number. A repeated field, a map, an enum, bytes, a
// bool, a floating-point number and a message name nothing, and neither does a field that the message lacks: see [New]
// for when that is found.
//
// A request is refused with INVALID_ARGUMENT if a field, or a message on the way to it, is not set. Without presence
// ("optional", oneof) an empty string and 0 count as not set. With presence 0 is a value, and an empty string is
// refused. It is also refused if the value could mean two resources to those who read it: if a part between "/" or "\"
// is empty, "." or "..", if a percent sign stands before two hex digits (see [Options.Escapes]), if it holds NUL or
// invalid UTF-8, and if the resource would be longer than 512 bytes.
//
// In a stream of requests each message is checked: see [Guard.Stream].
func Require(action latchkey.Action, resource string) Rule {
	return Rule{kind: kindRequire, action: action, resource: resource}
}

// RequireRows is [Require] for handlers that serve only some rows. It passes callers that may do action on any row, and
// stores the condition for [httpadapter.RowsFrom]. The handler must bind and apply it. It must ask for it, or call
// [httpadapter.RowsNotNeeded], before it answers. An answer without either is replaced by INTERNAL, for every caller,
// also for one that may see all rows. An error of the handler passes.
//
// A method whose client streams cannot have RequireRows on a resource with fields: each message would have rows of its
// own. Use [Authenticated] and [latchkey.Access.Filter] there.
func RequireRows(action latchkey.Action, resource string) Rule {
	return Rule{kind: kindRows, action: action, resource: resource}
}

// Spend returns r, which then takes n credits of a meter from the caller's quotas before the handler runs, and counts
// one use: see [latchkey.Access.Spend]. The endpoint that is counted is the method's full name. A call that is refused
// costs nothing. A stream costs n once: at its start, or with the first message if that names the resource. If the cost
// is known only later, use [latchkey.Access.Reserve] in the handler.
func (r Rule) Spend(meter string, n latchkey.Credits) Rule {
	r.meter, r.credits, r.spends = meter, n, true
	return r
}

// rule is a Rule that was checked.
type rule struct {
	Rule
	method   string
	template *template // of kindRequire and kindRows
}

func (r *rule) rows() bool { return r.kind == kindRows }

// named reports whether messages name the resource.
func (r *rule) named() bool { return r.template != nil && r.template.constant == "" }

// compile checks one entry of a Table.
func compile(method string, r Rule, catalogue *latchkey.Catalogue) (*rule, error) {
	service, name, ok := splitMethod(method)
	if !ok {
		return nil, errors.New(`write the full name: "/package.Service/Method"`)
	}
	c := &rule{Rule: r, method: method}
	if r.spends {
		switch {
		case r.kind == kindPublic:
			return nil, errors.New("a Public method has no caller that could Spend")
		case r.meter == "" || len(r.meter) > 64 || !utf8.ValidString(r.meter) || strings.Contains(r.meter, "\x00"):
			return nil, fmt.Errorf("the meter %.70q is not 1 to 64 bytes of valid UTF-8 without NUL", r.meter)
		case r.credits < 0:
			return nil, errors.New("a negative number of credits")
		}
	}
	switch r.kind {
	case kindNone:
		return nil, errors.New("the zero Rule: use Require, RequireRows, Authenticated or Public")
	case kindRequire, kindRows:
		if r.action == latchkey.Any {
			return nil, fmt.Errorf("action %q stands for every action: name one action", r.action)
		}
		if err := r.action.Validate(); err != nil {
			return nil, err
		}
		var err error
		if c.template, err = parseTemplate(r.resource); err != nil {
			return nil, err
		}
		if err := catalogue.CheckRoute(r.action, c.template.shape(), c.rows()); err != nil {
			return nil, err
		}
	}
	found, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(service))
	if err != nil {
		return c, nil // not registered in this program: the first call finds what is wrong
	}
	sd, ok := found.(protoreflect.ServiceDescriptor)
	if !ok {
		return nil, fmt.Errorf("%s is no service", service)
	}
	md := sd.Methods().ByName(protoreflect.Name(name))
	if md == nil {
		return nil, fmt.Errorf("service %s has no method %q", service, name)
	}
	if c.named() {
		if c.rows() && md.IsStreamingClient() {
			return nil, errRowsOfStream
		}
		if _, err := c.template.resolve(md.Input()); err != nil {
			return nil, err
		}
	}
	return c, nil
}

var errRowsOfStream = errors.New("RequireRows on a resource with fields needs one request: for a stream of them use " +
	"Authenticated, and Access.Filter in the handler")

// splitMethod splits the full name of a method.
func splitMethod(full string) (service, method string, ok bool) {
	rest, ok := strings.CutPrefix(full, "/")
	if !ok {
		return "", "", false
	}
	service, method, ok = strings.Cut(rest, "/")
	return service, method, ok && protoreflect.FullName(service).IsValid() && protoreflect.Name(method).IsValid()
}

// CheckServer compares the Table with what a server has registered. It returns an error that names each method of the
// server that the Table lacks, and each method of the Table that the server lacks. Call it with server.GetServiceInfo()
// once all services are registered, and do not start with an error:
//
//	if err := guard.CheckServer(server.GetServiceInfo()); err != nil {
//		log.Fatal(err)
//	}
//
// What the Table lacks is denied in any case.
func (g *Guard) CheckServer(services map[string]grpc.ServiceInfo) error {
	var problems []string
	has := map[string]bool{}
	for service, info := range services {
		for _, m := range info.Methods {
			full := "/" + service + "/" + m.Name
			has[full] = true
			r, ok := g.rules[full]
			switch {
			case !ok:
				problems = append(problems, full+": the table has no rule for it, so it is denied to everybody")
			case m.IsClientStream && r.rows() && r.named():
				problems = append(problems, full+": "+errRowsOfStream.Error())
			}
		}
	}
	for full := range maps.Keys(g.rules) {
		if !has[full] {
			problems = append(problems, full+": the table has a rule for it, but the server has no such method")
		}
	}
	if len(problems) == 0 {
		return nil
	}
	slices.Sort(problems)
	return fmt.Errorf("latchkeygrpc: the table does not fit the server:\n%s", strings.Join(problems, "\n"))
}
