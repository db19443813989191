// Package lambdatest describes the kinds of integrations/lambda to the law suite.
// Their counterpart is test/fakes/lambda, because Lambda itself runs nowhere but at
// AWS.
//
// Only tests import it.
package lambdatest
