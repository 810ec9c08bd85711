// The examples as one component, under the names that they have in every language (guest-examples/expected).
package main

import (
	"guests/alerts"
	"guests/daysessions"
	"guests/enrich"
	"guests/flights"
	"guests/sessionize"
	"guests/topk"
	"guests/wordcount"
	"thalweg"
)

func init() {
	thalweg.RegisterDoFn("parse", &flights.Parse{})
	thalweg.RegisterDoFn("sessionize", &sessionize.Sessionize{GapMS: 5000})
	thalweg.RegisterCombineFn("top_k", &topk.TopK{K: 3})
	thalweg.RegisterDoFn("words", &wordcount.Words{})
	thalweg.RegisterCombineFn("sum", &wordcount.Sum{})
	thalweg.RegisterDoFn("alerts", &alerts.Alerts{Limit: 30, SilenceMS: 60_000})
	thalweg.RegisterDoFn("enrich", &enrich.Enrich{})
	thalweg.RegisterWindowFn("day_sessions", &daysessions.DaySessions{GapMS: 1_800_000})
}

func main() {}
