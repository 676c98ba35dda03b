package frameworks

import (
	"net/http"

	latchkeychi "github.com/latchkey-go/latchkey/integrations/frameworks/chi"
	latchkeyecho4 "github.com/latchkey-go/latchkey/integrations/frameworks/echo4"
	latchkeyecho5 "github.com/latchkey-go/latchkey/integrations/frameworks/echo5"
	latchkeyfiber "github.com/latchkey-go/latchkey/integrations/frameworks/fiber"
	latchkeygin "github.com/latchkey-go/latchkey/integrations/frameworks/gin"
	latchkeyhttprouter "github.com/latchkey-go/latchkey/integrations/frameworks/httprouter"
	latchkeyhuma "github.com/latchkey-go/latchkey/integrations/frameworks/huma"
	latchkeymux "github.com/latchkey-go/latchkey/integrations/frameworks/mux"
)

// Middleware is the type of Adapter.Authenticate, and of the results of Adapter.Require and RequireRows.
type Middleware = func(http.Handler) http.Handler

// The tests know each adapter by a short name.
var (
	ChiPathValue        = latchkeychi.PathValue
	GorillaPathValue    = latchkeymux.PathValue
	HTTPRouterPathValue = latchkeyhttprouter.PathValue
	Gin                 = latchkeygin.Guard
	Echo4               = latchkeyecho4.Guard
	Echo5               = latchkeyecho5.Guard
	Fiber               = latchkeyfiber.Guard
	FiberHandler        = latchkeyfiber.Handler
	Huma                = latchkeyhuma.Guard
	HumaRequire         = latchkeyhuma.Require
	HumaRequireRows     = latchkeyhuma.RequireRows
	HumaGuardAll        = latchkeyhuma.GuardAll
	HumaProblem         = latchkeyhuma.Problem
	HumaError           = latchkeyhuma.Error
)

const HumaScheme = latchkeyhuma.Scheme
