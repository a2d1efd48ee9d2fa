
# ---- The parameters of this job ----------------------------------------------------------------------------
@VALUES@
export @NAMES@
