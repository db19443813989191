// Package runbooks is what is known about services and ways out, and what
// follows from it: the service catalogue, the runbooks, the ranking of
// suspected changes, plans and their blast radius, the order of options, and
// lint.
//
// It is pure: parsers take bytes and a file name, time is an argument, nothing
// is fetched or executed. It refuses runbooks it does not fully understand
// (unknown keys, wrong types and bad references are errors with file, line and
// column), and it abstains rather than guess which change is to blame. What is
// measured of a service, it only asks for and adds up: a measurement that is
// missing is not known, and never zero.
//
// It imports workflows/incident and its own strict reader. Workflows,
// activities, cmd and tests may import it.
package runbooks
