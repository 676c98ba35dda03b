package envoyauth_test

import (
	"encoding/json"
	"os"
	"testing"

	authz "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_authz/v3"
	router "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	hcm "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/encoding/protojson"
)

// The configuration that is shipped has no field that Envoy does not know, and none that would open it.
func TestConfiguration(t *testing.T) {
	text, err := os.ReadFile("envoy.yaml")
	require.NoError(t, err)
	var anything map[string]any
	require.NoError(t, yaml.Unmarshal(text, &anything))
	encoded, err := json.Marshal(anything)
	require.NoError(t, err)
	var manager hcm.HttpConnectionManager
	require.NoError(t, protojson.Unmarshal(encoded, &manager))
	require.Len(t, manager.GetHttpFilters(), 2)

	var filter authz.ExtAuthz
	require.NoError(t, manager.GetHttpFilters()[0].GetTypedConfig().UnmarshalTo(&filter))
	require.NoError(t, filter.ValidateAll())
	require.False(t, filter.GetFailureModeAllow())
	require.True(t, filter.GetEncodeRawHeaders())
	require.Nil(t, filter.GetAllowedHeaders(), "every header is sent, so that none is overlooked")
	require.NotNil(t, filter.GetGrpcService().GetEnvoyGrpc())
	var last router.Router
	require.NoError(t, manager.GetHttpFilters()[1].GetTypedConfig().UnmarshalTo(&last))
	require.Equal(t, hcm.HttpConnectionManager_REJECT_REQUEST, manager.GetPathWithEscapedSlashesAction())

	anything["nosuch"] = true
	encoded, err = json.Marshal(anything)
	require.NoError(t, err)
	require.Error(t, protojson.Unmarshal(encoded, &manager), "the control: an unknown field is an error")
}
