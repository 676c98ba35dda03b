package frameworks_test

import (
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
	"github.com/latchkey-go/latchkey/httpadapter/console"
	"github.com/latchkey-go/latchkey/httpadapter/webforce"
	latchkeyecho4 "github.com/latchkey-go/latchkey/integrations/frameworks/echo4"
)

func echo4Recipe(keys *latchkey.Manager, signedIn console.SignedIn) http.Handler {
	auth := httpadapter.New(keys, nil)
	e := echo.New()

	e.GET("/data/:id", func(c echo.Context) error {
		access, _ := httpadapter.AccessFrom(c.Request().Context()) // the caller
		return c.JSON(http.StatusOK, map[string]any{"dataset": c.Param("id"), "owner": access.Owner()})
	}, latchkeyecho4.Guard(auth.Require(latchkey.Read, "dataset/{id}")))

	e.GET("/orders", func(c echo.Context) error {
		rows, _ := httpadapter.RowsFrom(c.Request().Context()) // which rows the caller may read
		orders, err := ordersIn(rows)
		if err != nil {
			auth.WriteError(c.Response(), c.Request(), err)
			return nil
		}
		return c.JSON(http.StatusOK, orders)
	}, latchkeyecho4.Guard(auth.RequireRows(latchkey.Read, "dataset/orders")))

	reports := e.Group("/reports", latchkeyecho4.Guard(auth.Require(latchkey.Create, "report")))
	reports.Use(latchkeyecho4.Guard(auth.Spend("reports", 1))) // each costs a credit
	reports.POST("", func(c echo.Context) error { return c.NoContent(http.StatusAccepted) })

	e.Any("/console/*", echo.WrapHandler(http.StripPrefix("/console", console.Handler(signedIn, nil))))
	e.Any("/console", echo.WrapHandler(http.RedirectHandler("/console/", http.StatusTemporaryRedirect)))
	e.Any("/api", echo.WrapHandler(webforce.Handler(keys.For("acme"), nil)))
	return e
}
