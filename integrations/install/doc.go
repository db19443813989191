// Package install registers every integration that the product ships with.
//
// It has blank imports and nothing else. The commands import it; a program that
// wants fewer vendors imports those instead.
package install
