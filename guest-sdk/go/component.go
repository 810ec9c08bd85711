//go:build wasip1

package thalweg

import _ "thalweg/internal/component" // the exports of the component
