select * from genes where day = {{ ds }}
