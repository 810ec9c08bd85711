//go:build !wasip1

package thalweg

// In a test a function sees the machine anyway.

func takeClock()       {}
func takeRandom()      {}
func takeEnvironment() {}
