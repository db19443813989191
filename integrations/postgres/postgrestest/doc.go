// Package postgrestest describes the kinds of integrations/postgres to the law
// suite, on a real PostgreSQL. Only tests import it.
package postgrestest
