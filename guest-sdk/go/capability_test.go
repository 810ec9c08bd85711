package thalweg

import (
	"strings"
	"testing"
)

type greedy struct {
	Words Output[string]
}

func (greedy) Capabilities() []Capability { return []Capability{Clock(), Env("REGION")} }

func (g *greedy) Process(_ *Context, word string) error {
	g.Words.Emit(word)
	return nil
}

func TestCapabilitiesThatAFunctionNeedsAreDescribed(t *testing.T) {
	if described := DoFnOf[string]("greedy", &greedy{}).JSON; !strings.Contains(described, `"capabilities":["clock","env:REGION"]`) {
		t.Fatal(described)
	}
}
