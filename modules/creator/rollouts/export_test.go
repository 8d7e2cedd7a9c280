package rollouts

// Withdraw is what a run does with the routes of what its plan ends.
var Withdraw = withdraw
