from scaling.page.data import page_data as page_data
from scaling.page.write import checked_flops as checked_flops
from scaling.page.write import content_policy as content_policy
from scaling.page.write import page_fragment as page_fragment
from scaling.page.write import write_page as write_page
