package latchkeygrpc

import (
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
	"github.com/latchkey-go/latchkey/integrations/grpc/internal/shop"
)

func TestTemplateValues(t *testing.T) {
	for _, c := range []struct {
		resource string
		msg      *shop.Odd
		want     string // a resource, or the reason why there is none
	}{
		{"a/{text}", &shop.Odd{Text: "x"}, "a/x"},
		{"a/{text}/b", &shop.Odd{Text: "x/y"}, "a/x%2Fy/b"},
		{"{text}/{number}", &shop.Odd{Text: "Küste *", Number: -7}, "Küste %2A/-7"},
		{"a/{text}", &shop.Odd{Text: "100%"}, "a/100%25"},
		{"a/{text}", &shop.Odd{Text: "50%of"}, "a/50%25of"},
		{"a/{text}", &shop.Odd{Text: "..."}, "a/..."},
		{"a/{number}", &shop.Odd{Number: -1 << 63}, "a/-9223372036854775808"},
		{"a/{serial}", &shop.Odd{Key: &shop.Odd_Serial{Serial: 1<<64 - 1}}, "a/18446744073709551615"},
		{"a/{small}/{fixed}", &shop.Odd{Small: 1, Fixed: -2}, "a/1/-2"},
		{"a/{name}", &shop.Odd{Key: &shop.Odd_Name{Name: "n"}}, "a/n"},
		{"a/{order.id}", &shop.Odd{Key: &shop.Odd_Order{Order: &shop.Order{Id: "7"}}}, "a/7"},
		{"a/{wrapped.value}", &shop.Odd{Wrapped: &shop.Text{Value: "w"}}, "a/w"},
		{"a/{self.self.text}", &shop.Odd{Self: &shop.Odd{Self: &shop.Odd{Text: "deep"}}}, "a/deep"},

		// Presence.
		{"a/{text}", &shop.Odd{}, "it is not set"},
		{"a/{number}", &shop.Odd{}, "it is not set"},
		{"a/{optional_text}", &shop.Odd{}, "it is not set"},
		{"a/{optional_text}", &shop.Odd{OptionalText: proto.String("")}, "it is empty"},
		{"a/{optional_number}", &shop.Odd{OptionalNumber: proto.Int64(0)}, "a/0"},
		{"a/{optional_number}", &shop.Odd{}, "it is not set"},
		{"a/{serial}", &shop.Odd{Key: &shop.Odd_Serial{}}, "a/0"},
		{"a/{serial}", &shop.Odd{Key: &shop.Odd_Name{Name: "n"}}, "it is not set"},
		{"a/{name}", &shop.Odd{Key: &shop.Odd_Name{}}, "it is empty"},
		{"a/{order.id}", &shop.Odd{}, "it is not set"},
		{"a/{order.id}", &shop.Odd{Key: &shop.Odd_Order{}}, "it is not set"},
		{"a/{order.id}", &shop.Odd{Key: &shop.Odd_Order{Order: &shop.Order{}}}, "it is not set"},
		{"a/{self.text}", &shop.Odd{Text: "not this"}, "it is not set"},
		{"a/{text}", nil, "it is not set"},

		// Two meanings.
		{"a/{text}", &shop.Odd{Text: "."}, `it has an empty, "." or ".." segment`},
		{"a/{text}", &shop.Odd{Text: ".."}, `it has an empty, "." or ".." segment`},
		{"a/{text}", &shop.Odd{Text: "x/../y"}, `it has an empty, "." or ".." segment`},
		{"a/{text}", &shop.Odd{Text: `x\..\y`}, `it has an empty, "." or ".." segment`},
		{"a/{text}", &shop.Odd{Text: "/x"}, `it has an empty, "." or ".." segment`},
		{"a/{text}", &shop.Odd{Text: "x/"}, `it has an empty, "." or ".." segment`},
		{"a/{text}", &shop.Odd{Text: "x//y"}, `it has an empty, "." or ".." segment`},
		{"a/{text}", &shop.Odd{Text: "/"}, `it has an empty, "." or ".." segment`},
		{"a/{text}", &shop.Odd{Text: "x%2fy"}, "it has a percent sign before two hex digits, which may be decoded once more"},
		{"a/{text}", &shop.Odd{Text: "%Ff"}, "it has a percent sign before two hex digits, which may be decoded once more"},
		{"a/{text}", &shop.Odd{Text: "x\x00"}, "it is not valid UTF-8, or holds a NUL"},
		{"a/{text}", &shop.Odd{Text: "x\xff"}, "it is not valid UTF-8, or holds a NUL"},
		{"a/{text}", &shop.Odd{Text: strings.Repeat("x", 510)}, "a/" + strings.Repeat("x", 510)},
		{"a/{text}", &shop.Odd{Text: strings.Repeat("x", 511)}, "the value is too long"},
		{"a/{text}", &shop.Odd{Text: strings.Repeat("*", 200)}, "the value is too long"},
		{"a/{text}/{name}", &shop.Odd{Text: strings.Repeat("x", 400), Key: &shop.Odd_Name{Name: strings.Repeat("y", 400)}},
			"the value is too long"},
	} {
		tmpl, err := parseTemplate(c.resource)
		require.NoError(t, err)
		got, err := tmpl.resource(c.msg, false)
		if err == nil {
			require.Equal(t, latchkey.Resource(c.want), got)
			require.NoError(t, got.Validate())
			continue
		}
		var field *fieldError
		require.ErrorAs(t, err, &field, "%s of %v", c.resource, c.msg)
		require.Equal(t, c.want, field.reason, "%s of %v", c.resource, c.msg)
		require.ErrorIs(t, err, httpadapter.ErrBadRequest)
	}

	tmpl, err := parseTemplate("a/{text}")
	require.NoError(t, err)
	got, err := tmpl.resource(&shop.Odd{Text: "x%2fy"}, true)
	require.NoError(t, err, "Options.Escapes")
	require.Equal(t, latchkey.Resource("a/x%252fy"), got)
}

// What no resource can name is found by the type of the message alone.
func TestTemplateFields(t *testing.T) {
	of := (&shop.Odd{}).ProtoReflect().Descriptor()
	const only = ": a resource takes strings and whole numbers only"
	for resource, want := range map[string]string{
		"a/{list}":         `field "list" of latchkey.shop.v1.Odd is repeated: a resource needs one value`,
		"a/{map}":          `field "map" of latchkey.shop.v1.Odd is repeated: a resource needs one value`,
		"a/{many.text}":    `field "many" of latchkey.shop.v1.Odd is repeated: a resource needs one value`,
		"a/{size}":         `field "size" of latchkey.shop.v1.Odd is of type enum` + only,
		"a/{raw}":          `field "raw" of latchkey.shop.v1.Odd is of type bytes` + only,
		"a/{flag}":         `field "flag" of latchkey.shop.v1.Odd is of type bool` + only,
		"a/{real}":         `field "real" of latchkey.shop.v1.Odd is of type double` + only,
		"a/{order}":        `field "order" of latchkey.shop.v1.Odd is of type message` + only,
		"a/{nosuch}":       `latchkey.shop.v1.Odd has no field "nosuch"`,
		"a/{order.nosuch}": `latchkey.shop.v1.Order has no field "nosuch"`,
		"a/{text.id}":      `field "text" of latchkey.shop.v1.Odd is no message: it has no field "id"`,
		"a/{optionalText}": `latchkey.shop.v1.Odd has no field "optionalText": write its name in the proto file, ` +
			`"optional_text"`,
		"a/{key}":             `latchkey.shop.v1.Odd has no field "key"`,
		"a/{text}/b/{number}": "",
	} {
		tmpl, err := parseTemplate(resource)
		require.NoError(t, err)
		_, err = tmpl.resolve(of)
		if want == "" {
			require.NoError(t, err)
			continue
		}
		require.EqualError(t, err, `resource "`+resource+`": `+want)
		_, err = tmpl.resource(&shop.Odd{Text: "x"}, false)
		var wrong *templateError
		require.ErrorAs(t, err, &wrong, "at the first call, where New could not know")
		require.NotErrorIs(t, err, httpadapter.ErrBadRequest)
	}
	for _, resource := range []string{"", "/", "a/", "/a", "a//b", "a/..", "./a", "a/*", "a/x{id}", "a/{id}x", "a/{}",
		"a/{a.}", "a/{.a}", "a/{a..b}", "a/{a b}", "a/{", "a/}", "a/{*}", "a/{id...}", "a/{1a}", "a/\x00", "a/\xff",
		strings.Repeat("a", 513)} {
		_, err := parseTemplate(resource)
		require.Error(t, err, "%q", resource)
	}
	tmpl, err := parseTemplate("a/{text}")
	require.NoError(t, err)
	_, err = tmpl.resource("no message", false)
	require.ErrorIs(t, err, errNoMessage)
}

// Two types of the same name, or of any other, may come through one rule: a proxy's, or a dynamic message.
func TestTemplateTypes(t *testing.T) {
	fd, err := protodesc.NewFile(&descriptorpb.FileDescriptorProto{
		Name: proto.String("old.proto"), Package: proto.String("old"), Syntax: proto.String("proto2"),
		MessageType: []*descriptorpb.DescriptorProto{{Name: proto.String("M"), Field: []*descriptorpb.FieldDescriptorProto{{
			Name: proto.String("text"), Number: proto.Int32(1), DefaultValue: proto.String("everything"),
			Label: descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum(),
			Type:  descriptorpb.FieldDescriptorProto_TYPE_STRING.Enum(),
		}}}},
	}, nil)
	require.NoError(t, err)
	m := dynamicpb.NewMessage(fd.Messages().Get(0))
	tmpl, err := parseTemplate("a/{text}")
	require.NoError(t, err)
	for range 2 {
		_, err = tmpl.resource(m, false)
		var field *fieldError
		require.True(t, errors.As(err, &field))
		require.Equal(t, "it is not set", field.reason, "a default is no value")
		got, err := tmpl.resource(&shop.Odd{Text: "x"}, false)
		require.NoError(t, err)
		require.Equal(t, latchkey.Resource("a/x"), got)
		dynamic := dynamicpb.NewMessage((&shop.Odd{}).ProtoReflect().Descriptor())
		dynamic.Set(dynamic.Descriptor().Fields().ByName("text"), protoreflect.ValueOfString("y"))
		got, err = tmpl.resource(dynamic, false)
		require.NoError(t, err)
		require.Equal(t, latchkey.Resource("a/y"), got)
	}
}

// FuzzTemplate: a resource is always a valid one that its values can be read from again, so no two values share one.
func FuzzTemplate(f *testing.F) {
	f.Add("order/{text}", []byte("\x0a\x01x"))
	f.Add("{self.text}/{number}", []byte("\x8a\x01\x03\x0a\x01x\x18\x05"))
	f.Add("a/{list}", []byte(""))
	f.Fuzz(func(t *testing.T, text string, wire []byte) {
		tmpl, err := parseTemplate(text)
		if err != nil {
			return
		}
		require.NoError(t, latchkey.Resource(strings.NewReplacer("{", "_", "}", "_").Replace(text)).Validate())
		var m shop.Odd
		if proto.Unmarshal(wire, &m) != nil {
			return
		}
		got, err := tmpl.resource(&m, true)
		if err != nil {
			return
		}
		require.NoError(t, got.Validate())
		segments := got.Segments()
		require.Len(t, segments, len(tmpl.segments))
		for i, s := range tmpl.segments {
			if len(s.path) == 1 && s.path[0] == "text" {
				require.Equal(t, m.Text, segments[i])
				require.NotEmpty(t, m.Text)
			}
		}
	})
}

func TestSplitMethod(t *testing.T) {
	for full, ok := range map[string]bool{"/a.B/C": true, "/B/C": true, "a.B/C": false, "/a.B": false, "/a.B/": false,
		"//C": false, "/a.B/C/D": false, "/a.B/*": false, "/a..B/C": false, "": false} {
		_, _, got := splitMethod(full)
		require.Equal(t, ok, got, full)
	}
	_, err := protoregistry.GlobalFiles.FindDescriptorByName("latchkey.shop.v1.Orders")
	require.NoError(t, err)
}
