// Rules for the examples of `xbrle yara`: they find what the guests of the samples do.

rule migrating : sample
{
    meta:
        description = "the guest's own word for what is done to it"
    strings:
        $word = "mig" nocase
    condition:
        $word
}

rule boot_sector : sample
{
    strings:
        $end = { 55 AA }
    condition:
        #end > 3 and filesize >= 1MB
}
