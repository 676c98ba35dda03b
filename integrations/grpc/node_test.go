package latchkeygrpc_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"github.com/latchkey-go/latchkey"
)

type nodeCall struct {
	Method   string           `json:"method"`
	Requests []map[string]any `json:"requests"`
	Metadata [][2]string      `json:"metadata"`
	PerCall  string           `json:"perCall"`

	code     codes.Code
	reason   string
	messages int
}

// The client of Node, @grpc/grpc-js, over TLS and without: calls of each shape, and the details of its errors.
func TestNode(t *testing.T) {
	w := newWorld(t, nil)
	secure, _, ca := w.listenTLS()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	w.serve(listener)
	key := w.key(latchkey.Allow(latchkey.Read).On("order/1", "dataset/orders"),
		latchkey.Allow(latchkey.Create, latchkey.Use).On("dataset/a"))
	_, none := w.issue(latchkey.Settings{Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Read).On("order/1")},
		Limits: latchkey.Limits{Rate: latchkey.Rate{Count: 1, Per: 1 << 40}}})
	auth := [][2]string{{"authorization", "Bearer " + key}}
	a, c := map[string]any{"dataset": "a"}, map[string]any{"dataset": "c"}
	one, no := []map[string]any{{"id": "1"}}, []map[string]any{{}}
	calls := []nodeCall{
		{"Get", one, auth, "", codes.OK, "", 1},
		{"Get", []map[string]any{{"id": "2"}}, auth, "", codes.PermissionDenied, "DENIED", 0},
		{"Get", no, auth, "", codes.InvalidArgument, "BAD_REQUEST", 0},
		{"Get", one, nil, "", codes.Unauthenticated, "NO_CREDENTIAL", 0},
		{"Get", one, append(auth, auth...), "", codes.Internal, "", 0}, // the client refuses: see TestRawFrames
		{"Get", one, append(auth, [2]string{"authorization-bin", "x"}), "", codes.InvalidArgument, "BAD_REQUEST", 0},
		{"Other", no, auth, "", codes.PermissionDenied, "UNMAPPED", 0},
		{"Count", no, auth, "", codes.OK, "", 1},
		{"List", no, auth, "", codes.OK, "", 1},
		{"Export", []map[string]any{{"dataset": "orders"}}, auth, "", codes.OK, "", 1},
		{"Export", []map[string]any{c}, auth, "", codes.PermissionDenied, "DENIED", 0},
		{"Upload", []map[string]any{a, a}, auth, "", codes.OK, "", 1},
		{"Upload", []map[string]any{a, c}, auth, "", codes.PermissionDenied, "DENIED", 0},
		{"Upload", []map[string]any{}, auth, "", codes.InvalidArgument, "BAD_REQUEST", 0},
		{"Chat", []map[string]any{a, a, a}, auth, "", codes.OK, "", 3},
		{"Talk", no, nil, "", codes.Unauthenticated, "NO_CREDENTIAL", 0},
	}
	for _, transport := range []string{"TLS", "plain"} {
		address, file, all := secure, ca, calls
		if transport == "plain" {
			address, file = listener.Addr().String(), ""
		} else { // grpc-js sends call credentials over TLS only
			all = append(all[:len(all):len(all)],
				nodeCall{"Get", one, nil, key, codes.OK, "", 1},
				nodeCall{"Get", one, auth, key, codes.Internal, "", 0},
				nodeCall{"Get", one, nil, none, codes.OK, "", 1},
				nodeCall{"Get", one, nil, none, codes.ResourceExhausted, "RATE_LIMITED", 0})
		}
		input, err := json.Marshal(all)
		require.NoError(t, err)
		cmd := exec.CommandContext(t.Context(), "node", "testdata/node/client.js", address, file)
		cmd.Stdin = bytes.NewReader(input)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		output, err := cmd.Output()
		require.NoError(t, err, "scripts/install installs the client: %s", stderr.String())
		var got []struct {
			Code     codes.Code
			Message  string
			Details  string
			Messages []map[string]any
		}
		require.NoError(t, json.Unmarshal(output, &got), "%s", output)
		require.Len(t, got, len(all))
		for i, call := range all {
			require.Equal(t, call.code.String(), got[i].Code.String(), "%s: %d: %s: %s", transport, i, call.Method,
				got[i].Message)
			if call.reason != "" {
				encoded, err := base64.StdEncoding.DecodeString(got[i].Details)
				require.NoError(t, err)
				var s rpcstatus.Status
				require.NoError(t, proto.Unmarshal(encoded, &s))
				require.NotEmpty(t, s.Details)
				var info errdetails.ErrorInfo
				require.NoError(t, s.Details[0].UnmarshalTo(&info))
				require.Equal(t, call.reason, info.Reason)
				require.NotContains(t, string(encoded), key)
			} else {
				require.Len(t, got[i].Messages, call.messages, call.Method)
			}
		}
	}
}
