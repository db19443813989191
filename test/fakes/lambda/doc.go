// Package fakelambda stands in for the part of AWS Lambda's API that is about
// functions, versions and aliases. It is held to the documented behaviour and refuses
// what Lambda refuses: a request that is not signed for its key, region and service,
// an action that the policies of the key do not allow, a RevisionId that is not the
// alias's, a share for a second version that is not published, requests above a rate.
//
// Sources, all below https://docs.aws.amazon.com/lambda/latest/api/: API_GetAlias,
// API_UpdateAlias, API_ListVersionsByFunction, API_GetFunctionConfiguration,
// API_GetAccountSettings, CommonErrors; for the signature
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
//
// What it does not do: it invokes nothing. Only tests import it.
package fakelambda
