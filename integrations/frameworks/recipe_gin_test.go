package frameworks_test

import (
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
	"github.com/latchkey-go/latchkey/httpadapter/console"
	"github.com/latchkey-go/latchkey/httpadapter/webforce"
	latchkeygin "github.com/latchkey-go/latchkey/integrations/frameworks/gin"
)

func ginRecipe(keys *latchkey.Manager, signedIn console.SignedIn) http.Handler {
	auth := httpadapter.New(keys, nil)
	e := gin.New()

	e.GET("/data/:id", latchkeygin.Guard(auth.Require(latchkey.Read, "dataset/{id}")), func(c *gin.Context) {
		access, _ := httpadapter.AccessFrom(c.Request.Context()) // the caller
		c.JSON(http.StatusOK, gin.H{"dataset": c.Param("id"), "owner": access.Owner()})
	})
	e.GET("/orders", latchkeygin.Guard(auth.RequireRows(latchkey.Read, "dataset/orders")), func(c *gin.Context) {
		rows, _ := httpadapter.RowsFrom(c.Request.Context()) // which rows the caller may read
		orders, err := ordersIn(rows)
		if err != nil {
			auth.WriteError(c.Writer, c.Request, err)
			return
		}
		c.JSON(http.StatusOK, orders)
	})
	reports := e.Group("/reports", latchkeygin.Guard(auth.Require(latchkey.Create, "report")))
	reports.Use(latchkeygin.Guard(auth.Spend("reports", 1))) // each costs a credit
	reports.POST("", func(c *gin.Context) { c.Status(http.StatusAccepted) })

	e.Any("/console/*rest", gin.WrapH(http.StripPrefix("/console", console.Handler(signedIn, nil))))
	e.Any("/api", gin.WrapH(webforce.Handler(keys.For("acme"), nil)))
	return e
}
