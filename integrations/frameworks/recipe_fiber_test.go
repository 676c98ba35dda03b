package frameworks_test

import (
	"net/http"

	"github.com/gofiber/fiber/v3"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
	"github.com/latchkey-go/latchkey/httpadapter/console"
	"github.com/latchkey-go/latchkey/httpadapter/webforce"
	latchkeyfiber "github.com/latchkey-go/latchkey/integrations/frameworks/fiber"
)

func fiberRecipe(keys *latchkey.Manager, signedIn console.SignedIn) *fiber.App {
	auth := httpadapter.New(keys, nil)
	app := fiber.New(fiber.Config{StrictRouting: true, UnescapePath: true})

	app.Get("/data/:id", latchkeyfiber.Guard(auth.Require(latchkey.Read, "dataset/{id}")), func(c fiber.Ctx) error {
		access, _ := httpadapter.AccessFrom(c.Context()) // the caller
		return c.JSON(fiber.Map{"dataset": c.Params("id"), "owner": access.Owner()})
	})
	app.Get("/orders", latchkeyfiber.Guard(auth.RequireRows(latchkey.Read, "dataset/orders")), func(c fiber.Ctx) error {
		rows, _ := httpadapter.RowsFrom(c.Context()) // which rows the caller may read
		orders, err := ordersIn(rows)
		if err != nil {
			return latchkeyfiber.WriteError(c, auth, err)
		}
		return c.JSON(orders)
	})
	reports := app.Group("/reports", latchkeyfiber.Guard(auth.Require(latchkey.Create, "report")))
	reports.Use(latchkeyfiber.Guard(auth.Spend("reports", 1))) // each costs a credit
	reports.Post("", func(c fiber.Ctx) error { return c.SendStatus(http.StatusAccepted) })

	app.Get("/console", func(c fiber.Ctx) error { // first: "/console/*" takes it as well
		return c.Redirect().Status(http.StatusTemporaryRedirect).To("/console/")
	})
	app.All("/console/*", latchkeyfiber.Handler(http.StripPrefix("/console", console.Handler(signedIn, nil))))
	app.All("/api", latchkeyfiber.Handler(webforce.Handler(keys.For("acme"), nil)))
	return app
}
