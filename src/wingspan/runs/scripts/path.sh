# Programs are looked for where the user who made the run has them.
PATH=@PATH@
export PATH
