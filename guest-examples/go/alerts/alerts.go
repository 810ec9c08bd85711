// Package alerts limits alerts in their rate: after an alert of a sensor there is silence for a while; what would have been an alert meanwhile is told as one
// when the silence ends.
package alerts

import "thalweg"

// Alert is a reading over the limit, or several: then Value is the largest of them, and Missed says how many were held back.
type Alert struct {
	Sensor string
	Value  float64
	Missed int64
}

// Alerts tells which readings of a sensor are over the limit.
type Alerts struct {
	Limit     float64 `json:"limit"`
	SilenceMS int64   `json:"silence_ms"`

	Alerts thalweg.Output[Alert]
	// How many alerts were held back; there is a value while there is silence.
	Missed thalweg.Value[int64] `thalweg:"missed,eager"`
	// The largest reading of them.
	Worst   thalweg.Value[float64] `thalweg:"worst,eager"`
	Silence thalweg.EventTimer
}

// Open checks the configuration.
func (a *Alerts) Open() error {
	if a.SilenceMS <= 0 {
		return thalweg.Fail("CONFIG", "silence_ms must be larger than 0")
	}
	return nil
}

// Process looks at a reading.
func (a *Alerts) Process(ctx *thalweg.Context, reading thalweg.KV[string, float64]) error {
	if reading.Value <= a.Limit {
		return nil
	}
	if missed, silent := a.Missed.Get(); silent {
		a.Missed.Set(missed + 1)
		a.Worst.Set(max(reading.Value, a.Worst.Or(reading.Value)))
		return nil
	}
	a.Alerts.Emit(Alert{reading.Key, reading.Value, 0})
	a.Missed.Set(0)
	a.Silence.Set(int64(ctx.Time()) + a.SilenceMS)
	return nil
}

// OnTimer tells what was held back, or ends the silence.
func (a *Alerts) OnTimer(ctx *thalweg.Context, timer thalweg.Fired) error {
	worst, held := a.Worst.Get()
	if !held {
		a.Missed.Clear()
		return nil
	}
	a.Alerts.Emit(Alert{thalweg.Key[string](ctx), worst, a.Missed.Or(0)})
	a.Worst.Clear()
	a.Missed.Set(0)
	a.Silence.Set(timer.FireMS() + a.SilenceMS)
	return nil
}
