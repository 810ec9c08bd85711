package thalweg

import "strings"

// Capability is one thing of the machine that a function wants to see. The pipeline has to grant it, and the server to allow it.
type Capability struct {
	name string
	// take has what is granted found where the standard library looks for it. A component imports what the capabilities that it names ask for.
	take func()
}

// Clock is the time of day and a monotonic clock, as they pass: time.Now. A time.Sleep returns at once all the same. [Context.Now] stays the
// processing time of the call.
func Clock() Capability { return Capability{"clock", takeClock} }

// Random is entropy of the system: crypto/rand. [Context.Random] stays the call's own.
func Random() Capability { return Capability{"random", takeRandom} }

// Env is a variable of the environment, by its name: os.Getenv, from Open on. The pipeline says its value.
func Env(name string) Capability { return Capability{"env:" + name, takeEnvironment} }

// Capable is a function of any kind that wants to see something of the machine; any other sees none of it. It is asked of what is registered, and of
// each instance when it is opened.
type Capable interface{ Capabilities() []Capability }

// capabilities is what a function wants, as its description says it.
func capabilities(function any) string {
	capable, is := function.(Capable)
	if !is {
		return ""
	}
	var names []string
	for _, capability := range capable.Capabilities() {
		names = append(names, quoted(capability.name))
	}
	if len(names) == 0 {
		return ""
	}
	return `,"capabilities":[` + strings.Join(names, ",") + "]"
}

// take has what a function is granted found.
func take(function any) {
	if capable, is := function.(Capable); is {
		for _, capability := range capable.Capabilities() {
			capability.take()
		}
	}
}
