package latchkeymcp_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/latchkey-go/latchkey"
	latchkeymcp "github.com/latchkey-go/latchkey/integrations/mcp"
	"github.com/latchkey-go/latchkey/memstore"
)

// A program that its client starts has its key in the environment.
func runStdio(ctx context.Context, guard *latchkeymcp.Guard, server *mcp.Server) error {
	key, err := latchkeymcp.KeyFromEnv("DATASETS_API_KEY") // and removes it from the environment
	if err != nil {
		return err
	}
	if err := guard.ProtectWithKey(ctx, server, key); err != nil {
		return err
	}
	return server.Run(ctx, &mcp.StdioTransport{})
}

// Without the key it does not start.
func ExampleKeyFromEnv() {
	guard := latchkeymcp.New(latchkey.New(memstore.New(nil), nil), nil)
	fmt.Println(runStdio(context.Background(), guard, mcp.NewServer(&mcp.Implementation{Name: "datasets"}, nil)))
	// Output:
	// latchkeymcp: the environment variable DATASETS_API_KEY is not set: it must hold a key
}

type datasetInput struct {
	ID string `json:"id"`
}

// An existing MCP server gets a rule for each tool, and the guarded handler in place of the SDK's.
func Example() {
	// The server as it was before.
	server := mcp.NewServer(&mcp.Implementation{Name: "datasets", Version: "1.0.0"}, nil)
	mcp.AddTool(server, &mcp.Tool{Name: "read_dataset"}, func(ctx context.Context, _ *mcp.CallToolRequest,
		in datasetInput) (*mcp.CallToolResult, any, error) {
		access, _ := latchkeymcp.AccessFrom(ctx)
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{
			Text: fmt.Sprintf("%s of %s", in.ID, access.Owner())}}}, nil, nil
	})
	mcp.AddTool(server, &mcp.Tool{Name: "drop_dataset"}, func(context.Context, *mcp.CallToolRequest, datasetInput) (
		*mcp.CallToolResult, any, error) {
		return &mcp.CallToolResult{}, nil, nil
	})

	// What guards it.
	keys := latchkey.New(memstore.New(nil), nil)
	guard := latchkeymcp.New(keys, &latchkeymcp.Options{Tools: map[string]latchkeymcp.Rule{
		"read_dataset": {Action: latchkey.Read, Resource: "dataset/{id}"},
		"drop_dataset": {Action: latchkey.Delete, Resource: "dataset/{id}"},
	}})
	mux := http.NewServeMux()
	mux.Handle("/mcp", guard.StreamableHTTP(func(*http.Request) *mcp.Server { return server }, nil))

	// A key for a client, and what the client sees.
	ctx := context.Background()
	_, secret, err := keys.For("acme").Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey, Name: "an agent",
		Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Read).On("dataset/orders")}})
	if err != nil {
		log.Fatal(err)
	}
	running := httptest.NewServer(mux)
	defer running.Close()
	client := mcp.NewClient(&mcp.Implementation{Name: "agent", Version: "1.0.0"}, nil)
	session, err := client.Connect(ctx, &mcp.StreamableClientTransport{Endpoint: running.URL + "/mcp",
		HTTPClient: bearer(secret.Reveal()), DisableStandaloneSSE: true}, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer session.Close()
	tools, err := session.ListTools(ctx, nil)
	if err != nil {
		log.Fatal(err)
	}
	for _, tool := range tools.Tools {
		fmt.Println("tool:", tool.Name)
	}
	for _, id := range []string{"orders", "payroll"} {
		res, err := session.CallTool(ctx, &mcp.CallToolParams{Name: "read_dataset", Arguments: map[string]any{"id": id}})
		if err != nil {
			fmt.Println(id+":", "refused")
			continue
		}
		fmt.Println(id+":", res.Content[0].(*mcp.TextContent).Text)
	}
	// Output:
	// tool: read_dataset
	// orders: orders of acme
	// payroll: refused
}

// A tool that reads rows applies the caller's condition. One that forgets it fails.
func ExampleRowsFrom() {
	orders := latchkey.NewSchema(latchkey.Fields{"region": {Column: "o.region", Type: latchkey.Text}})
	keys := latchkey.New(memstore.New(nil), nil)
	guard := latchkeymcp.New(keys, &latchkeymcp.Options{Tools: map[string]latchkeymcp.Rule{
		"list_orders": {Action: latchkey.Read, Resource: "dataset/orders", Rows: true, Meter: "api", Credits: 1},
	}})
	server := mcp.NewServer(&mcp.Implementation{Name: "orders", Version: "1.0.0"}, nil)
	mcp.AddTool(server, &mcp.Tool{Name: "list_orders"}, func(ctx context.Context, _ *mcp.CallToolRequest, _ struct{}) (
		*mcp.CallToolResult, any, error) {
		rows, _ := latchkeymcp.RowsFrom(ctx)
		p, err := orders.Bind(rows)
		if err != nil {
			return nil, nil, err
		}
		where, args := p.SQL(latchkey.Postgres, 1)
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{
			Text: fmt.Sprint("SELECT * FROM orders o WHERE ", where, " with ", args)}}}, nil, nil
	})
	ctx := context.Background()
	_, secret, err := keys.For("acme").Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey,
		Permissions: latchkey.Permissions{
			latchkey.Allow(latchkey.Read).On("dataset/orders").Where(latchkey.Where("region", latchkey.Eq, "EU"))}})
	if err != nil {
		log.Fatal(err)
	}
	// Over stdio the key comes from the environment: see KeyFromEnv.
	if err := guard.ProtectWithKey(ctx, server, secret.Reveal()); err != nil {
		log.Fatal(err)
	}
	here, there := mcp.NewInMemoryTransports() // in a program: &mcp.StdioTransport{}
	go func() { _ = server.Run(ctx, there) }()
	session, err := mcp.NewClient(&mcp.Implementation{Name: "agent", Version: "1.0.0"}, nil).Connect(ctx, here, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer session.Close()
	res, err := session.CallTool(ctx, &mcp.CallToolParams{Name: "list_orders"})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(res.Content[0].(*mcp.TextContent).Text)
	// Output:
	// SELECT * FROM orders o WHERE (o.region = $1::text AND o.region::text COLLATE "C" = $1::text) with [EU]
}
