package alerts

import (
	"testing"

	"guests/internal/script"
)

func TestOneAlertStandsForWhatWasHeldBack(t *testing.T) {
	script.DoFn(t, "alerts", &Alerts{Limit: 30, SilenceMS: 60_000}, script.Output[Alert]("alerts"))
}
