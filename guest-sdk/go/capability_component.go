//go:build wasip1

package thalweg

import "thalweg/internal/component"

func takeClock()       { component.TakeClock() }
func takeRandom()      { component.TakeRandom() }
func takeEnvironment() { component.TakeEnvironment() }
