package main

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"

	"github.com/graph-gophers/graphql-go"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
	"github.com/latchkey-go/latchkey/httpadapter/datocms"
)

// A model that the caller may not read is not in the schema at all.
const (
	// The product has its own scalars. The queries of its clients name them in their variables.
	siteSchema = `
schema { query: Query }
scalar IntType
scalar FloatType
scalar BooleanType
enum SiteLocale { en }
type Site {
	name: String!
	locales: [SiteLocale!]!
	noIndex: BooleanType
	faviconMetaTags: [Tag!]!
}
type Tag { attributes: String, content: String, tag: String! }
`
	emptySchema = siteSchema + `
type Query { _site(locale: SiteLocale, fallbackLocales: [SiteLocale!]): Site! }
`
	penguinsSchema = siteSchema + `
type Query {
	_site(locale: SiteLocale, fallbackLocales: [SiteLocale!]): Site!
	penguin(filter: PenguinModelFilter!, locale: SiteLocale, fallbackLocales: [SiteLocale!]): PenguinRecord
	allPenguins(filter: PenguinModelFilter, first: IntType = 20, skip: IntType = 0, locale: SiteLocale,
		fallbackLocales: [SiteLocale!]): [PenguinRecord!]!
	_allPenguinsMeta(filter: PenguinModelFilter, locale: SiteLocale): CollectionMetadata!
}
type CollectionMetadata { count: IntType! }
type PenguinRecord {
	id: ID!
	_modelApiKey: String!
	_isValid: BooleanType!
	_status: ItemStatus!
	species: String
	island: String
	beakLength: FloatType
	beakDepth: FloatType
	flipperLength: IntType
	bodyMass: IntType
	sex: String
}
enum ItemStatus { draft published }
input PenguinModelFilter { id: IDFilter, species: StringFilter, island: StringFilter }
input IDFilter { eq: ID! }
input StringFilter { eq: String! }
`
)

var graphQLLimits = []graphql.SchemaOpt{graphql.MaxDepth(10), graphql.MaxSelections(500),
	graphql.MaxQueryLength(32 << 10)}

// complete selects the published penguins. One with a missing value is a draft.
var complete = func() latchkey.Condition {
	var known []latchkey.Condition
	for _, p := range points {
		known = append(known, latchkey.Where(p.ID, latchkey.IsNull, false))
	}
	return latchkey.All(known...)
}()

// serveGraphQL replies to a query that [datocms.Delivery] admitted. It ignores the content type: the product's client
// sends JSON as text/plain.
func (a *app) serveGraphQL(w http.ResponseWriter, r *http.Request) {
	access, ok := httpadapter.AccessFrom(r.Context())
	delivered, ok2 := datocms.DeliveredFrom(r.Context())
	if !ok || !ok2 {
		datocms.WriteError(w, r, errors.New("the endpoint is not guarded"))
		return
	}
	if r.Method != http.MethodPost {
		datocms.WriteError(w, r, latchkey.ErrNotFound)
		return
	}
	body, err := httpadapter.ReadBody(r, 64<<10)
	if err != nil {
		datocms.WriteError(w, r, err)
		return
	}
	var query struct {
		Query         string
		OperationName string
		Variables     map[string]any
	}
	if err := json.Unmarshal(body, &query); err != nil {
		datocms.WriteError(w, r, datocms.ErrJSONBody)
		return
	}
	schema, ctx, err := a.schemaOf(r.Context(), access, delivered)
	if err != nil {
		datocms.WriteError(w, r, err)
		return
	}
	reply, err := json.Marshal(schema.Exec(ctx, query.Query, query.OperationName, query.Variables))
	if err != nil {
		datocms.WriteError(w, r, err)
		return
	}
	w.Header().Set("Cache-Control", "private, no-store")
	w.Header().Set("Content-Type", "application/json; charset=utf-8") // errors of a query are a 200, too
	_, _ = w.Write(reply)
}

// schemaOf returns the schema for a caller, and a context that holds the rows the caller may read.
func (a *app) schemaOf(ctx context.Context, access latchkey.Access, d datocms.Delivered) (
	*graphql.Schema, context.Context, error) {
	rows, err := access.Filter(latchkey.Read, datocms.Model(d.Environment, datoModel))
	if err == nil && !d.Drafts {
		rows = latchkey.All(rows, complete)
	}
	if err == nil {
		// A role may refer to creators and workflows, which penguins do not have. Then Bind fails, and no row is shown.
		_, err = penguinSchema.Bind(rows)
	}
	switch {
	case errors.Is(err, latchkey.ErrDenied), errors.Is(err, latchkey.ErrBadCondition):
		return a.graphql.empty, ctx, nil
	case err != nil:
		return nil, ctx, err
	}
	return a.graphql.penguins, context.WithValue(ctx, rowsKey{}, rows), nil
}

type rowsKey struct{}

// schemas holds the schema for callers that may not read the only model, and the one for those that may.
type schemas struct{ empty, penguins *graphql.Schema }

func newSchemas(a *app) schemas {
	return schemas{
		empty:    graphql.MustParseSchema(emptySchema, &emptyQuery{}, graphQLLimits...),
		penguins: graphql.MustParseSchema(penguinsSchema, &penguinQuery{app: a}, graphQLLimits...),
	}
}

type emptyQuery struct{}

// localized holds the arguments that every query of the product may have. Penguins have no language, so it has no
// effect.
type localized struct {
	Locale          *string
	FallbackLocales *[]string
}

func (*emptyQuery) Site(localized) site { return site{} }

type site struct{}

func (site) Name() string           { return datasetName }
func (site) Locales() []string      { return []string{"en"} }
func (site) NoIndex() *booleanType  { no := booleanType(false); return &no }
func (site) FaviconMetaTags() []tag { return nil }

type tag struct{}

func (tag) Attributes() *string { return nil }
func (tag) Content() *string    { return nil }
func (tag) Tag() string         { return "" }

// The scalars of the product. A value in a query must have their JSON type.
type (
	intType     int64
	floatType   float64
	booleanType bool
)

func (intType) ImplementsGraphQLType(name string) bool     { return name == "IntType" }
func (floatType) ImplementsGraphQLType(name string) bool   { return name == "FloatType" }
func (booleanType) ImplementsGraphQLType(name string) bool { return name == "BooleanType" }

var errScalar = errors.New("a value of another type")

// UnmarshalGraphQL takes a literal of a query, or a variable as encoding/json decodes it.
func (n *intType) UnmarshalGraphQL(value any) error {
	switch v := value.(type) {
	case int32:
		*n = intType(v)
	case float64:
		if v != float64(int64(v)) || v >= 1<<53 || v <= -1<<53 {
			return errScalar
		}
		*n = intType(v)
	default:
		return errScalar
	}
	return nil
}

func (*floatType) UnmarshalGraphQL(any) error   { return errScalar } // no argument has this type
func (*booleanType) UnmarshalGraphQL(any) error { return errScalar }

type penguinQuery struct {
	emptyQuery
	app *app
}

type penguinFilter struct {
	ID      *struct{ Eq graphql.ID }
	Species *struct{ Eq string }
	Island  *struct{ Eq string }
}

type collection struct {
	localized
	Filter      *penguinFilter
	First, Skip intType
}

var (
	errUnavailable = errors.New("temporarily unavailable")
	errPage        = errors.New("first is 0 to 500, skip 0 or more")
)

// bind returns the rows of filter that the caller may read.
func (q *penguinQuery) bind(ctx context.Context, f *penguinFilter) (*latchkey.Predicate, error) {
	rows, _ := ctx.Value(rowsKey{}).(latchkey.Condition) // none: no row
	if f != nil && f.Species != nil {
		rows = latchkey.All(rows, latchkey.Where("species", latchkey.Eq, f.Species.Eq))
	}
	if f != nil && f.Island != nil {
		rows = latchkey.All(rows, latchkey.Where("island", latchkey.Eq, f.Island.Eq))
	}
	return penguinSchema.Bind(rows)
}

// read returns the penguins of a filter. Their id is not a column of conditions.
func (q *penguinQuery) read(ctx context.Context, f *penguinFilter, at page) ([]*penguinRecord, error) {
	rows, err := q.bind(ctx, f)
	if err != nil {
		return nil, errors.New("a filter that does not fit")
	}
	var found []penguin
	if f != nil && f.ID != nil {
		var one penguin
		id, err := strconv.ParseInt(string(f.ID.Eq), 10, 64)
		if err == nil {
			one, err = q.app.penguins.get(ctx, rows, id)
		} else {
			err = latchkey.ErrNotFound
		}
		switch {
		case err == nil && at.start == 0 && at.limit != 0:
			found = append(found, one)
		case err != nil && !errors.Is(err, latchkey.ErrNotFound):
			return nil, q.app.hide(err)
		}
	} else if found, err = q.app.penguins.list(ctx, rows, at); err != nil {
		return nil, q.app.hide(err)
	}
	list := []*penguinRecord{}
	for _, one := range found {
		list = append(list, &penguinRecord{one})
	}
	return list, nil
}

// hide keeps the text of an error from callers.
func (a *app) hide(err error) error {
	a.log.Error("graphql", "error", err)
	return errUnavailable
}

func (q *penguinQuery) Penguin(ctx context.Context, args struct {
	localized
	Filter penguinFilter
}) (*penguinRecord, error) {
	list, err := q.read(ctx, &args.Filter, page{0, 1})
	if err != nil || len(list) == 0 {
		return nil, err
	}
	return list[0], nil
}

func (q *penguinQuery) AllPenguins(ctx context.Context, args collection) ([]*penguinRecord, error) {
	if args.First < 0 || args.First > 500 || args.Skip < 0 {
		return nil, errPage
	}
	return q.read(ctx, args.Filter, page{int64(args.Skip), int64(args.First)})
}

type metadata struct{ count intType }

func (m metadata) Count() intType { return m.count }

func (q *penguinQuery) AllPenguinsMeta(ctx context.Context, args struct {
	Filter *penguinFilter
	Locale *string
}) (metadata, error) {
	if args.Filter != nil && args.Filter.ID != nil {
		list, err := q.read(ctx, args.Filter, everything)
		return metadata{intType(len(list))}, err
	}
	rows, err := q.bind(ctx, args.Filter)
	if err != nil {
		return metadata{}, errors.New("a filter that does not fit")
	}
	c, err := q.app.penguins.summary(ctx, rows)
	if err != nil {
		return metadata{}, q.app.hide(err)
	}
	return metadata{intType(c.Rows)}, nil
}

// penguinRecord is a penguin as GraphQL shows it.
type penguinRecord struct{ bird penguin }

func (p *penguinRecord) ID() graphql.ID       { return graphql.ID(strconv.FormatInt(p.bird.ID, 10)) }
func (p *penguinRecord) ModelApiKey() string  { return datoModel }
func (p *penguinRecord) IsValid() booleanType { return true }

func (p *penguinRecord) Status() string {
	for _, point := range points {
		if p.bird.Values[point.ID] == nil {
			return "draft"
		}
	}
	return "published"
}

func (p *penguinRecord) Species() *string        { return p.text("dp-1") }
func (p *penguinRecord) Island() *string         { return p.text("dp-2") }
func (p *penguinRecord) BeakLength() *floatType  { return p.number("dp-3") }
func (p *penguinRecord) BeakDepth() *floatType   { return p.number("dp-4") }
func (p *penguinRecord) FlipperLength() *intType { return p.integer("dp-5") }
func (p *penguinRecord) BodyMass() *intType      { return p.integer("dp-6") }
func (p *penguinRecord) Sex() *string            { return p.text("dp-7") }
func (p *penguinRecord) text(id string) *string  { return value[string](p.bird.Values[id]) }
func (p *penguinRecord) number(id string) *floatType {
	return (*floatType)(value[float64](p.bird.Values[id]))
}

func (p *penguinRecord) integer(id string) *intType {
	return (*intType)(value[int64](p.bird.Values[id]))
}

// value is nil for NULL.
func value[T any](v any) *T {
	if t, ok := v.(T); ok {
		return &t
	}
	return nil
}
