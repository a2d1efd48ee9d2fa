# Programs are those that whoever made the run has.
PATH=@PATH@
export PATH
