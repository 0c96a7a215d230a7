package akamai

// Sign is sign, for requests with mistakes.
var Sign = sign
