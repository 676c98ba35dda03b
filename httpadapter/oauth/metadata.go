package oauth

// serverMetadata is the document of RFC 8414 §2.
type serverMetadata struct {
	Issuer                string   `json:"issuer"`
	TokenEndpoint         string   `json:"token_endpoint"`
	TokenAuth             []string `json:"token_endpoint_auth_methods_supported"`
	IntrospectionEndpoint string   `json:"introspection_endpoint"`
	IntrospectionAuth     []string `json:"introspection_endpoint_auth_methods_supported"`
	RevocationEndpoint    string   `json:"revocation_endpoint"`
	RevocationAuth        []string `json:"revocation_endpoint_auth_methods_supported"`
	Scopes                []string `json:"scopes_supported"`
	ResponseTypes         []string `json:"response_types_supported"` // required, though there is no authorization endpoint
	GrantTypes            []string `json:"grant_types_supported"`
	ProtectedResources    []string `json:"protected_resources"` // RFC 9728 §4
}

func (s *surface) serverMetadata() any {
	client := []string{"client_secret_basic", "client_secret_post"}
	base := s.opts.Issuer + "/oauth/"
	return serverMetadata{Issuer: s.opts.Issuer, TokenEndpoint: base + "token",
		TokenAuth:             []string{"client_secret_basic", "client_secret_post", "none"}, // none: token exchange
		IntrospectionEndpoint: base + "introspect", IntrospectionAuth: client,
		RevocationEndpoint: base + "revoke", RevocationAuth: client,
		Scopes: s.names, ResponseTypes: []string{}, GrantTypes: []string{grantClientCredentials, grantTokenExchange},
		ProtectedResources: []string{s.resource}}
}

// resourceMetadata is the document of RFC 9728 §2.
type resourceMetadata struct {
	Resource             string   `json:"resource"`
	AuthorizationServers []string `json:"authorization_servers"`
	Scopes               []string `json:"scopes_supported"`
	BearerMethods        []string `json:"bearer_methods_supported"`
}

func (s *surface) resourceMetadata() any {
	return resourceMetadata{Resource: s.resource, AuthorizationServers: []string{s.opts.Issuer}, Scopes: s.names,
		BearerMethods: []string{"header"}}
}
